package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// The event, with the headers that Knative adds on its way to a function.
const (
	echoType   = "dev.knit.bench.order"
	echoSource = "/bench/orders"
	echoTime   = "2026-11-21T08:00:00.123Z"
	echoData   = `{"order":4711,"customer":"c-20931","items":[{"sku":"A-17","count":2,"price":1999},{"sku":"B-02","count":1,"price":549}],"total":4547,"currency":"EUR","note":"leave it at the door"}`
	idLength   = 16
)

var echoAttributes = map[string]string{
	"specversion": "1.0", "type": echoType, "source": echoSource, "subject": "order/4711", "time": echoTime, "tenant": "shop",
}

var dateLength = len(http.TimeFormat)

// errAnswer is a server that answers, but wrongly.
var errAnswer = errors.New("wrong answer")

// message is a request or an answer with the event's id in some places.
type message struct {
	bytes []byte
	ids   []int
}

func (m *message) setID(id uint64) {
	const digits = "0123456789abcdef"
	for _, at := range m.ids {
		for k := range idLength {
			m.bytes[at+k] = digits[id>>(4*(idLength-1-k))&15]
		}
	}
}

func newMessage(text []byte, id string) message {
	m := message{bytes: text}
	for at := 0; ; at += idLength {
		next := bytes.Index(text[at:], []byte(id))
		if next < 0 {
			return m
		}
		at += next
		m.ids = append(m.ids, at)
	}
}

// answer is a message whose date may be any.
type answer struct {
	message
	date int // where the Date header's value begins
}

func (a answer) copy() answer {
	a.bytes = bytes.Clone(a.bytes)
	return a
}

func newRequest() message {
	const id = "fedcba9876543210"
	var b strings.Builder
	fmt.Fprintf(&b, "POST / HTTP/1.1\r\nHost: echo.default.svc.cluster.local\r\nUser-Agent: bench\r\nContent-Length: %d\r\nContent-Type: application/json\r\nCe-Id: %s\r\n", len(echoData), id)
	for _, name := range []string{"specversion", "type", "source", "subject", "time", "tenant"} {
		fmt.Fprintf(&b, "Ce-%s%s: %s\r\n", strings.ToUpper(name[:1]), name[1:], echoAttributes[name])
	}
	b.WriteString("Prefer: reply\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Request-Id: 0f5a1b52-6c3c-4d7c-9a41-5b1df0e1c8a7\r\n\r\n" + echoData)
	return newMessage([]byte(b.String()), id)
}

// answerCheck tells whether an answer means what it must.
type answerCheck func(r *http.Response, body []byte, id string) error

// learn sends one event, understands the answer, and keeps it: all later ones
// must be the same but for id and date.
func learn(address string, check answerCheck) (answer, error) {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return answer{}, err
	}
	const id = 0xa1b2c3d4e5f60718
	request := newRequest()
	request.setID(id)
	if _, err := c.Write(request.bytes); err != nil {
		return answer{}, err
	}
	var seen bytes.Buffer
	r, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &seen)), nil)
	if err != nil {
		return answer{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, err
	}
	name := fmt.Sprintf("%x", uint64(id))
	date := r.Header.Get("Date")
	at := bytes.Index(seen.Bytes(), []byte(date))
	if len(date) != dateLength || at < 0 {
		return answer{}, fmt.Errorf("%w: no date in %q", errAnswer, seen.Bytes())
	}
	if err := check(r, body, name); err != nil {
		return answer{}, fmt.Errorf("%w: %w: %q", errAnswer, err, seen.Bytes())
	}
	return answer{newMessage(seen.Bytes(), name), at}, nil
}

// checkNothing is the answer to an event that is taken, by whichever of the
// two statuses.
func checkNothing(r *http.Response, body []byte, _ string) error {
	if (r.StatusCode != http.StatusNoContent && r.StatusCode != http.StatusOK) || len(body) > 0 {
		return fmt.Errorf("status %s with %d bytes, want an empty 200 or 204", r.Status, len(body))
	}
	return nil
}

// checkEvent is the event in binary mode.
func checkEvent(r *http.Response, body []byte, id string) error {
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		return fmt.Errorf("content type %q, want application/json", got)
	}
	return sameEvent(r, body, id, func(name string) any {
		return r.Header.Get("Ce-" + name)
	})
}

// checkEventInJSON is the event as JSON. The framework loses the content type
// of the data.
func checkEventInJSON(r *http.Response, body []byte, id string) error {
	var e map[string]any
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	data, err := json.Marshal(e["data"])
	if err != nil {
		return err
	}
	return sameEvent(r, data, id, func(name string) any { return e[name] })
}

func sameEvent(r *http.Response, data []byte, id string, attribute func(string) any) error {
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s, want 200", r.Status)
	}
	if got := attribute("id"); got != id {
		return fmt.Errorf("id %v, want %s", got, id)
	}
	for name, want := range echoAttributes {
		if got := attribute(name); got != want {
			return fmt.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(data, &got), json.Unmarshal([]byte(echoData), &want)); err != nil {
		return err
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("data %s, want %s", data, echoData)
	}
	return nil
}
