package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/emission"
	"github.com/knit-dev/knit/functions/api/invocation"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

const (
	// maxSendAnswer is how much of an answer is shown, in bytes.
	maxSendAnswer = 64 << 10
	// busyWait is how long to wait when the function service has no room.
	busyWait = time.Second
)

// sender sends events to one target.
type sender struct {
	to        target
	name      string // of the target, for people
	namespace string
	mode      string
	timeout   time.Duration
	cluster   *cmdline.Cluster // nil for an address
	direct    *http.Client
}

// sent is what became of an event, and what -o json shows of it.
type sent struct {
	Event   json.RawMessage `json:"event,omitempty"`
	To      string          `json:"to"`
	Result  string          `json:"result"`           // sent or failed
	Status  int             `json:"status,omitempty"` // that the target answered
	Answer  string          `json:"answer,omitempty"` // of a function or an address
	Message string          `json:"message,omitempty"`
	Line    int             `json:"line,omitempty"`

	err error
}

const (
	resultSent   = "sent"
	resultFailed = "failed"
)

// sender opens the way to the target; to an address it needs no cluster.
func (s *sending) sender(to target) (*sender, error) {
	out := &sender{to: to, name: to.url, mode: s.mode, timeout: s.timeout}
	if to.url != "" {
		out.direct = &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment},
			// An event goes where it was said to; what follows a redirect would often be a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		return out, nil
	}
	cluster, err := s.env.Connect(newScheme())
	if err != nil {
		return nil, err
	}
	out.cluster, out.namespace = cluster, cluster.Namespace
	out.name = fmt.Sprintf("%s %s/%s", to.kind, cluster.Namespace, to.name)
	return out, nil
}

// send sends one event. While the function service has no room, which it says
// before it sends anything, it waits.
func (s *sender) send(ctx context.Context, e *event) sent {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out := sent{Event: e.encoded, To: s.name}
	for {
		out.Status, out.Answer, out.err = s.once(limited, e)
		if !apierrors.IsTooManyRequests(out.err) || !pause(limited, busyWait) {
			break
		}
	}
	switch {
	case out.err == nil && (out.Status < 200 || out.Status >= 300):
		out.err = s.refused(out.Status, out.Answer)
	case out.err != nil:
		out.err = s.explain(limited, out.err)
	}
	out.Result = resultSent
	if out.err != nil {
		out.Result, out.Message = resultFailed, out.err.Error()
	}
	return out
}

// pause waits, and tells whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *sender) once(ctx context.Context, e *event) (status int, answer string, err error) {
	switch s.to.kind {
	case targetBroker:
		status, err = s.emit(ctx, emission.Brokers, e)
	case targetChannel:
		status, err = s.emit(ctx, emission.Channels, e)
	case targetFunction:
		return s.invoke(ctx, e)
	default:
		return s.post(ctx, e)
	}
	return status, "", err
}

// emit hands the event to the function service, which sends it on.
func (s *sender) emit(ctx context.Context, resource string, e *event) (int, error) {
	address, err := s.cluster.URL(emission.Path(s.namespace, resource, s.to.name, s.mode))
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(e.encoded))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", emission.ContentType)
	response, err := s.cluster.Send(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer emission.Answer
	if err := json.NewDecoder(io.LimitReader(response.Body, maxSendAnswer)).Decode(&answer); err != nil || answer.Status == 0 {
		return 0, errors.New("the answer is none of the function service; is another API server in the way?")
	}
	return answer.Status, nil
}

// invoke calls the function with the event, by the way of `knit invoke --via api`.
func (s *sender) invoke(ctx context.Context, e *event) (int, string, error) {
	inner, err := s.request(ctx, "http://function/", e)
	if err != nil {
		return 0, "", err
	}
	address, err := s.cluster.URL(invocation.Path(s.namespace, s.to.name, inner.Method, "/"))
	if err != nil {
		return 0, "", err
	}
	outer, err := http.NewRequestWithContext(ctx, http.MethodPost, address, inner.Body)
	if err != nil {
		return 0, "", err
	}
	outer.ContentLength = inner.ContentLength
	invocation.Wrap(outer.Header, inner.Header)
	response, err := s.cluster.Send(outer)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	status, err := strconv.Atoi(response.Header.Get(invocation.HeaderStatus))
	if err != nil {
		return 0, "", errors.New("the answer is none of a function; is another API server in the way?")
	}
	answer, err := readAnswer(response.Body)
	return status, answer, err
}

// post sends the event to an address from here.
func (s *sender) post(ctx context.Context, e *event) (int, string, error) {
	request, err := s.request(ctx, s.to.url, e)
	if err != nil {
		return 0, "", err
	}
	response, err := s.direct.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := readAnswer(response.Body)
	return response.StatusCode, answer, err
}

// request makes the HTTP request of an event in the chosen mode.
func (s *sender) request(ctx context.Context, address string, e *event) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return nil, err
	}
	encode := binding.WithForceBinary(ctx)
	if s.mode == emission.ModeStructured {
		encode = binding.WithForceStructured(ctx)
	}
	if err := cehttp.WriteRequest(encode, binding.ToMessage(&e.Event), request); err != nil {
		return nil, fmt.Errorf("write the event in %s mode: %w", s.mode, err)
	}
	return request, nil
}

// readAnswer reads the beginning of an answer; the rest is nobody's affair here.
func readAnswer(body io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxSendAnswer))
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// refused says that the target did not take the event.
func (s *sender) refused(status int, answer string) error {
	text := fmt.Sprintf("%s answered %d %s", s.name, status, http.StatusText(status))
	if answer != "" {
		text += ": " + cmdline.Plain(shorten(answer, 200))
	}
	err := errors.New(strings.TrimSpace(text))
	if s.to.kind == targetFunction {
		return cmdline.Advise(err, "see what it wrote with `knit logs %s -n %s`", s.to.name, s.namespace)
	}
	if s.to.kind != "" {
		return cmdline.Advise(err, "see `knit %s describe %s -n %s`", s.to.kind, s.to.name, s.namespace)
	}
	return err
}

func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// explain says why the event did not get to the target.
func (s *sender) explain(ctx context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	err = fmt.Errorf("send to %s: %w", s.name, err)
	right := s.to.kind + "s/events"
	if s.to.kind == targetFunction {
		right = "functions/invoke"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return cmdline.Advise(err, "it may have been sent; give it longer with --timeout, and send it again with the same --id")
	case s.to.kind == "":
		return cmdline.Advise(err, "check the address, and whether it can be reached from here")
	case apierrors.IsForbidden(err):
		role := "knit-send"
		if s.to.kind == targetFunction {
			role = "knit-invoke"
		}
		return cmdline.Advise(err, "ask for the ClusterRole %s or knit-edit in namespace %s, which may create %s", role, s.namespace, right)
	case cmdline.Code(err) == cmdline.ExitNotFound && s.to.kind == targetBroker && s.to.name == "default":
		return cmdline.Advise(err, "deploy a function with events, which makes the default broker, or make it with `knit broker create default -n %s`", s.namespace)
	case cmdline.Code(err) == cmdline.ExitNotFound:
		return cmdline.Advise(err, "see which there are with `knit %s -n %s`", listOf(s.to.kind), s.namespace)
	}
	return err
}

// listOf is the command that lists the objects of a kind.
func listOf(kind string) string {
	if kind == targetFunction {
		return "list"
	}
	return kind + " list"
}

// reply shows what a function or an address answered, if anything.
func (s sent) reply() string {
	if s.Answer == "" {
		return ""
	}
	return ", which answered " + cmdline.Plain(shorten(s.Answer, 500))
}
