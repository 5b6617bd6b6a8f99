// Package sdktest calls the handlers of a function with events and keeps what
// they send, without a server and without a cluster. Tests of functions import
// it; a function itself never does.
package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/sdk"
)

// The function that a Kit stands for.
const (
	Function  = "function"
	Namespace = "test"
	Revision  = "function-00001"
)

// Kit is the surroundings of a function in a test.
type Kit struct {
	t       testing.TB
	mu      sync.Mutex
	sent    []Sent
	answers map[string]http.HandlerFunc
}

// Sent is a request that the function made.
type Sent struct {
	To     string // "sink", "broker/<name>", "function/<name>", or the address
	Header http.Header
	Body   []byte
	Event  *event.Event // when it was one
}

// New gives the function an identity and a sink, until the end of the test.
func New(t testing.TB) *Kit {
	t.Helper()
	for name, value := range map[string]string{
		"K_SERVICE": Function, "K_CONFIGURATION": Function, "K_REVISION": Revision, "K_SINK": sinkAddress, "K_CE_OVERRIDES": "",
		"KNIT_NAMESPACE": Namespace, "KNIT_BROKER_INGRESS": brokerAddress,
	} {
		t.Setenv(name, value)
	}
	return &Kit{t: t, answers: map[string]http.HandlerFunc{}}
}

const (
	sinkAddress   = "http://sink.test"
	brokerAddress = "http://broker.test"
)

// Context is that of a request: what is sent with it ends in the Kit.
func (k *Kit) Context() context.Context {
	return sdk.WithTransport(sdk.WithHeader(k.t.Context(), http.Header{}), k)
}

// Result is what became of an event.
type Result struct {
	Reply   *event.Event // what the sender gets back; nil for nothing
	Err     error        // of the handler, or of a reply that is not valid
	Status  int          // that Knit's runtime answers with
	Retried bool         // whether Knative would deliver the event again
}

// Deliver calls a handler with an event, as Knit's runtime would.
func (k *Kit) Deliver(handle sdk.Handler, e event.Event) Result {
	k.t.Helper()
	if err := e.Validate(); err != nil {
		k.t.Fatalf("the event to deliver is not valid: %v", err)
	}
	reply, err := handle(k.Context(), e)
	if err == nil && reply != nil {
		reply, err = encoded(*reply)
	}
	if err != nil {
		status := sdk.StatusOf(err)
		return Result{Err: err, Status: status, Retried: sdk.Retriable(status)}
	}
	if reply == nil {
		return Result{Status: http.StatusNoContent}
	}
	return Result{Reply: reply, Status: http.StatusOK}
}

// encoded is the reply as it arrives at the other end.
func encoded(reply event.Event) (*event.Event, error) {
	if err := reply.Validate(); err != nil {
		return nil, fmt.Errorf("the function returned an invalid event: %w", err)
	}
	content, err := json.Marshal(reply)
	if err != nil {
		return nil, fmt.Errorf("the function returned an event that cannot be encoded: %w", err)
	}
	arrived := event.New()
	return &arrived, json.Unmarshal(content, &arrived)
}

// Event makes an event of a type with data.
func Event(t testing.TB, eventType string, data any) event.Event {
	t.Helper()
	e, err := sdk.NewEvent(eventType, data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Data decodes the data of an event.
func Data[T any](t testing.TB, e *event.Event) T {
	t.Helper()
	var data T
	if e == nil {
		t.Fatalf("there is no event to read %T from", data)
	}
	if err := e.DataAs(&data); err != nil {
		t.Fatalf("event %s of type %s: %v", e.ID(), e.Type(), err)
	}
	return data
}

// Answer says what a receiver answers, by its name in Sent. The others take
// everything with 202.
func (k *Kit) Answer(to string, answer http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[to] = answer
}

// Sent lists what the function has sent, in order.
func (k *Kit) Sent() []Sent {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Sent(nil), k.sent...)
}

// RoundTrip keeps a request and answers it; the SDK sends through it.
func (k *Kit) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := Sent{To: receiver(r), Header: r.Header.Clone()}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		sent.Body = body
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") {
		e := event.New()
		if err := json.Unmarshal(sent.Body, &e); err != nil {
			return nil, fmt.Errorf("the function sent an event that cannot be read: %w", err)
		}
		sent.Event = &e
	}
	k.mu.Lock()
	k.sent = append(k.sent, sent)
	answer := k.answers[sent.To]
	k.mu.Unlock()
	return respond(r, answer), nil
}

func receiver(r *http.Request) string {
	address := r.URL.Scheme + "://" + r.URL.Host
	if address == sinkAddress {
		return "sink"
	}
	if broker, ok := strings.CutPrefix(address+r.URL.Path, brokerAddress+"/"+Namespace+"/"); ok {
		return "broker/" + broker
	}
	if name, ok := strings.CutSuffix(r.URL.Host, "."+Namespace+".svc.cluster.local"); ok {
		return "function/" + name
	}
	return r.URL.String()
}
