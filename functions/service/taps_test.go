package service

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/tap"
)

// listener hands over one event, and then waits for its caller to go.
type listener struct{ ended chan string }

func (l listener) Tap(ctx context.Context, namespace string, line func(tap.Line) error) error {
	_ = line(tap.Line{Event: json.RawMessage(`{"id":"1"}`)})
	<-ctx.Done()
	l.ended <- namespace
	return ctx.Err()
}

func tapServer(t *testing.T, taps Taps, timeout time.Duration) *httptest.Server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader := clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(aBroker("orders", "http://x"), aChannel("line", "http://x"), aBroker("new", "")).Build()
	s := httptest.NewServer(withPaths(&api{taps: &tapHandler{taps: taps, addresses: addresses{reader: reader}, streams: newSlots(2), timeout: timeout}}))
	t.Cleanup(s.Close)
	return s
}

func TestATapStreamsUntilItsCallerGoes(t *testing.T) {
	l := listener{make(chan string, 1)}
	s := tapServer(t, l, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+tap.Path("alice", "channels", "line"), nil)
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var line tap.Line
	if err := json.NewDecoder(answer.Body).Decode(&line); err != nil || string(line.Event) != `{"id":"1"}` {
		t.Errorf("line %+v, %v: it must come while the stream goes on", line, err)
	}
	if code, body := emit(t, s, http.MethodGet, tap.Path("alice", "brokers", "orders"), "", nil); code != 429 {
		t.Errorf("a second one of the namespace: %d %s, want 429", code, body)
	}
	cancel()
	if namespace := <-l.ended; namespace != "alice" {
		t.Errorf("it listened for namespace %q", namespace)
	}
}

func TestATapIsRefused(t *testing.T) {
	s := tapServer(t, listener{make(chan string, 9)}, 50*time.Millisecond)
	cases := map[string]struct {
		method, path string
		code         int
		want         string
	}{
		"nobody":            {"GET", tap.Path("alice", "brokers", "nobody"), 404, "not found"},
		"another namespace": {"GET", tap.Path("bob", "brokers", "orders"), 404, "not found"},
		"no address":        {"GET", tap.Path("alice", "brokers", "new"), 503, "has no address yet"},
		"written":           {"POST", tap.Path("alice", "brokers", "orders"), 405, "GET"},
		"at its end":        {"GET", tap.Path("alice", "brokers", "orders"), 200, `{"event":{"id":"1"}}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if code, body := emit(t, s, c.method, c.path, "", io.Reader(nil)); code != c.code || !strings.Contains(body, c.want) {
				t.Errorf("answered %d %s, want %d with %s", code, body, c.code, c.want)
			}
		})
	}
	none := tapServer(t, nil, time.Minute)
	if code, body := emit(t, none, "GET", tap.Path("alice", "brokers", "orders"), "", nil); code != 503 || !strings.Contains(body, "does not know its own address") {
		t.Errorf("without a listener: %d %s", code, body)
	}
}
