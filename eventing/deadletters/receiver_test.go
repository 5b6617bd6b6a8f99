package deadletters

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

func aReceiver(store keeper) *Receiver {
	return &Receiver{
		store: store, blame: blame{ways{aCluster()}}, memory: semaphore.NewWeighted(inMemory),
		now: func() time.Time { return began }, wait: 5 * time.Second,
	}
}

// aRequest is what a dispatcher sends: an event in binary mode, with Knative's
// attributes.
func aRequest(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	for name, value := range map[string]string{
		"Kn-Namespace": "shop", "Ce-Specversion": "1.0", "Ce-Id": "a", "Ce-Source": "/test", "Ce-Type": "order.placed",
		"Content-Type":        "application/json",
		"Ce-Knativeerrordest": "http://pay.shop.svc.cluster.local", "Ce-Knativeerrorcode": "503",
		"Ce-Knativeerrordata": base64.StdEncoding.EncodeToString([]byte("try later\n")),
		"Ce-Knativebrokerttl": "254", "Ce-Priority": "high",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		r.Header.Set(name, value)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	return r
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestALetterSaysWhyAndTheEventIsAsItWas(t *testing.T) {
	store := aStore(t)
	if w := send(aReceiver(store), aRequest(`{"amount": 3}`)); w.Code != http.StatusAccepted {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	content, err := store.Get(t.Context(), "shop", 1)
	if err != nil {
		t.Fatal(err)
	}
	got := content.Letter
	want := deadletter.Letter{
		ID: 1, Time: began, Kind: "Trigger", Name: "paid", Destination: "http://pay.shop.svc.cluster.local", Code: 503, Reason: "try later",
		Event: deadletter.HeadOf("a", "/test", "order.placed", ""), Size: 13, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	if got != want {
		t.Errorf("letter = %+v\nwant     %+v", got, want)
	}
	if text := string(content.Content); strings.Contains(text, "knative") || !strings.Contains(text, `"priority":"high"`) || !strings.Contains(text, `"amount":3`) {
		t.Errorf("event = %s; want the producer's attributes and data, and none of Knative's", text)
	}
}

func TestWhatTheSinkTakes(t *testing.T) {
	structured := `{"specversion":"1.0","id":"a","source":"/test","type":"t","data":{"x":1},"knativeerrorcode":500}`
	cases := map[string]struct {
		request *http.Request
		code    int
		answer  string
	}{
		"binary mode":            {aRequest(`{}`), 202, ""},
		"no data":                {aRequest(``, "Content-Type", ""), 202, ""},
		"structured mode":        {aRequest(structured, "Content-Type", "application/cloudevents+json", "Ce-Specversion", "", "Ce-Id", ""), 202, ""},
		"unicode":                {aRequest(`{}`, "Ce-Subject", "%E2%82%AC"), 202, ""},
		"an old specversion":     {aRequest(`{}`, "Ce-Specversion", "0.3"), 202, ""},
		"no attributes of error": {aRequest(`{}`, "Ce-Knativeerrordest", "", "Ce-Knativeerrorcode", "", "Ce-Knativeerrordata", ""), 202, ""},
		"no namespace":           {aRequest(`{}`, "Kn-Namespace", ""), 400, "Kn-Namespace"},
		"a namespace with dots":  {aRequest(`{}`, "Kn-Namespace", "shop.>"), 400, "Kn-Namespace"},
		"no event":               {aRequest(`{}`, "Ce-Specversion", "", "Ce-Id", ""), 400, "no CloudEvent"},
		"an unknown specversion": {aRequest(`{}`, "Ce-Specversion", "9.9"), 400, "no CloudEvent"},
		"no id":                  {aRequest(`{}`, "Ce-Id", ""), 400, "no CloudEvent"},
		"GET":                    {httptest.NewRequest(http.MethodGet, "/", nil), 405, "POST"},
	}
	store := aStore(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := send(aReceiver(store), c.request)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.answer) {
				t.Errorf("answered %d %q, want %d with %q", w.Code, w.Body, c.code, c.answer)
			}
		})
	}
}

func TestAnEventTooLargeIsKeptWithoutItsData(t *testing.T) {
	store := aStore(t)
	cases := map[string]string{"more than is read": strings.Repeat("x", maxData+1), "larger in JSON": strings.Repeat("\x01", maxData-1)}
	id := uint64(0)
	for name, body := range cases {
		id++
		if w := send(aReceiver(store), aRequest(body, "Content-Type", "text/plain", "Ce-Id", name)); w.Code != http.StatusAccepted {
			t.Fatalf("%s: answered %d: %s", name, w.Code, w.Body)
		}
		content, err := store.Get(t.Context(), "shop", id)
		if err != nil || !content.DataLost || len(content.Content) > 4096 || content.Event.ID != name {
			t.Errorf("%s: letter = %+v of %d bytes, %v; want it without data", name, content.Letter, len(content.Content), err)
		}
	}
	big := `{"specversion":"1.0","id":"a","source":"/test","type":"t","data":"` + strings.Repeat("x", maxData) + `"}`
	w := send(aReceiver(store), aRequest(big, "Content-Type", "application/cloudevents+json", "Ce-Specversion", ""))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "structured") {
		t.Errorf("structured: answered %d %s, want 400: its attributes cannot be read without its data", w.Code, w.Body)
	}
}

// outage is a store that is away for some tries.
type outage struct {
	keeper
	tries int
}

func (o *outage) Put(ctx context.Context, namespace string, l deadletter.Letter, event []byte, same string) error {
	if o.tries--; o.tries >= 0 {
		return fmt.Errorf("%w: test", deadletter.ErrUnavailable)
	}
	return o.keeper.Put(ctx, namespace, l, event, same)
}

func TestAnEventWaitsForTheStore(t *testing.T) {
	store := aStore(t)
	if w := send(aReceiver(&outage{store, 2}), aRequest(`{}`)); w.Code != http.StatusAccepted {
		t.Errorf("answered %d %s, want 202 when the store is back", w.Code, w.Body)
	}
	if _, err := store.Get(t.Context(), "shop", 1); err != nil {
		t.Error(err)
	}
	impatient := aReceiver(&outage{store, 1 << 30})
	impatient.wait = 50 * time.Millisecond
	if w := send(impatient, aRequest(`{}`)); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "knit-dead-letters-0") {
		t.Errorf("answered %d %s, want 503 and where to look: Knative tries again", w.Code, w.Body)
	}
}

func TestAnEventOutlivesAStopOfTheServer(t *testing.T) {
	s := newServer(t)
	store := s.connect()
	keep(t, store, "shop", aLetter("before"))
	s.stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		time.Sleep(700 * time.Millisecond) // The sink must have tried and failed.
		s.start()
	}()
	w := send(aReceiver(store), aRequest(`{}`, "Ce-Id", "meanwhile"))
	<-back
	if w.Code != http.StatusAccepted {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	page, err := s.connect().List(t.Context(), "shop", deadletter.Selection{})
	if err != nil || len(page.Items) != 2 || page.Items[1].Event.ID != "meanwhile" {
		t.Errorf("letters = %+v, %v; want both", page.Items, err)
	}
}

func TestReasonsOfAnyForm(t *testing.T) {
	long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("why ", 1000)))
	cases := map[string]struct{ data, want string }{
		"base64":           {base64.StdEncoding.EncodeToString([]byte("out of stock")), "out of stock"},
		"base64, cut off":  {base64.StdEncoding.EncodeToString([]byte("out of stock"))[:14], "out of st"},
		"text":             {"it's out of stock", "it's out of stock"},
		"lines":            {base64.StdEncoding.EncodeToString([]byte("a\n  b\r\n")), "a b"},
		"invalid UTF-8":    {base64.StdEncoding.EncodeToString([]byte("a\xffb")), "a\ufffdb"},
		"nothing":          {"", ""},
		"more than a page": {long, strings.TrimSpace(strings.Repeat("why ", maxReason/4))},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := strings.TrimSpace(reasonText(c.data)); got != c.want {
				t.Errorf("reason = %q, want %q", got, c.want)
			}
		})
	}
}
