//go:build go1.25

package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/sdk"
	"github.com/knit-dev/knit/sdk/sdktest"
)

func placed(t *testing.T) event.Event { return sdktest.Event(t, "order.placed", order{"tea", 1}) }

// answers is a receiver that gives its answers one after the other, the last
// one for ever.
func answers(statuses []int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "told so", statuses[0])
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
	}
}

func TestEmitTriesAgain(t *testing.T) {
	cases := map[string]struct {
		reason     string
		statuses   []int
		retryAfter string
		deadline   time.Duration
		tries      int
		status     int // of the error; 200 for none
		least      time.Duration
		most       time.Duration
	}{
		"taken at once":           {"one try", []int{202}, "", time.Hour, 1, 200, 0, 0},
		"taken at last":           {"pauses of 0.1 to 0.2 s, then twice that", []int{503, 404, 202}, "", time.Hour, 3, 200, 300 * time.Millisecond, 600 * time.Millisecond},
		"never taken":             {"five tries are the bound", []int{500}, "", time.Hour, 5, 500, 1500 * time.Millisecond, 3 * time.Second},
		"refused":                 {"another try would not help", []int{400}, "", time.Hour, 1, 400, 0, 0},
		"too many, seconds":       {"the receiver says how long", []int{429, 202}, "7", time.Hour, 2, 200, 7 * time.Second, 7 * time.Second},
		"too many, far too long":  {"nobody waits for a day", []int{429, 202}, "86400", 48 * time.Hour, 1, 429, 0, 0},
		"a deadline in the pause": {"it could not be kept", []int{503}, "7", 5 * time.Second, 1, 503, 0, 0},
		"nonsense in Retry-After": {"the own pause counts", []int{503, 202}, "soon", time.Hour, 2, 200, 100 * time.Millisecond, 200 * time.Millisecond},
		"a redirect":              {"receivers do not move", []int{301}, "", time.Hour, 5, 502, 1500 * time.Millisecond, 3 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kit := sdktest.New(t)
				kit.Answer("broker/default", answers(c.statuses, c.retryAfter))
				ctx, cancel := context.WithTimeout(kit.Context(), c.deadline)
				defer cancel()
				begun := time.Now()
				err := sdk.EmitTo(ctx, sdk.Broker("default"), placed(t))
				took := time.Since(begun)
				if got := sdk.StatusOf(err); got != c.status {
					t.Errorf("%s: status %d, want %d (%v)", c.reason, got, c.status, err)
				}
				if took < c.least || took > c.most {
					t.Errorf("%s: took %s, want %s to %s", c.reason, took, c.least, c.most)
				}
				sent := kit.Sent()
				if len(sent) != c.tries {
					t.Fatalf("%s: %d tries, want %d", c.reason, len(sent), c.tries)
				}
				for _, s := range sent {
					if s.To != "broker/default" || s.Event.ID() != sent[0].Event.ID() {
						t.Errorf("%s: a try went to %s with id %s", c.reason, s.To, s.Event.ID())
					}
				}
				if err != nil && !strings.Contains(err.Error(), "to broker default") {
					t.Errorf("%s: the error does not name the receiver: %v", c.reason, err)
				}
			})
		})
	}
}

// broken fails the first tries before they reach anybody.
type broken struct {
	fails int
	next  http.RoundTripper
}

func (b *broken) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.fails--; b.fails >= 0 {
		return nil, errors.New("connection refused")
	}
	return b.next.RoundTrip(r)
}

func TestEmitSurvivesTheNetwork(t *testing.T) {
	for fails, status := range map[int]int{4: 200, 5: 502} {
		synctest.Test(t, func(t *testing.T) {
			kit := sdktest.New(t)
			err := sdk.Emit(sdk.WithTransport(kit.Context(), &broken{fails, kit}), placed(t))
			if got := sdk.StatusOf(err); got != status {
				t.Errorf("%d failures: status %d, want %d (%v)", fails, got, status, err)
			}
		})
	}
}

func TestEmitOverTheWire(t *testing.T) {
	sdktest.New(t)
	t.Setenv("K_CE_OVERRIDES", `{"extensions":{"tenant":"a","shop":"bound"}}`)
	var got event.Event
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		if err := got.UnmarshalJSON(readBody(t, r)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	t.Setenv("K_SINK", server.URL+"/in")
	ctx, cancel := context.WithTimeout(served(t), time.Minute)
	defer cancel()
	e := event.New()
	e.SetType("order.placed")
	e.SetExtension("shop", "own")
	if err := sdk.Emit(ctx, e); err != nil {
		t.Fatal(err)
	}
	if got.ID() == "" || got.Source() != "/functions/test/function" || got.Time().IsZero() || got.Extensions()["tenant"] != "a" || got.Extensions()["shop"] != "bound" {
		t.Errorf("the sink got %v", got)
	}
	if header.Get("Traceparent") != trace || header.Get("Tracestate") != "a=b" || header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("the sink got the header %v", header)
	}
	if left, err := time.ParseDuration(header.Get("Knit-Timeout")); err != nil || left <= 0 || left > time.Minute {
		t.Errorf("Knit-Timeout is %q", header.Get("Knit-Timeout"))
	}
	if e.ID() != "" || len(e.Extensions()) != 1 {
		t.Errorf("the caller's own event was changed: %v", e)
	}
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// served is the context of a request in the cluster.
func served(t *testing.T) context.Context {
	return sdk.WithHeader(t.Context(), http.Header{"Traceparent": {trace}, "Tracestate": {"a=b"}, "X-Request-Id": {"r-1"}})
}

func TestEmitRefuses(t *testing.T) {
	cases := map[string]struct {
		to    sdk.Destination
		env   string
		value string
		event func(*event.Event)
		want  string
		code  int
	}{
		"no sink":               {sdk.Sink(), "K_SINK", "", nil, "K_SINK is not set", 500},
		"a sink that is none":   {sdk.Sink(), "K_SINK", "sink", nil, `"sink" is no address`, 500},
		"another scheme":        {sdk.URL("ftp://x/"), "", "", nil, "is no address", 500},
		"a name that is none":   {sdk.Broker("../x"), "", "", nil, "no name of a broker", 500},
		"no namespace":          {sdk.Broker("default"), "KNIT_NAMESPACE", "", nil, "KNIT_NAMESPACE is not set", 500},
		"overrides, not JSON":   {sdk.Sink(), "K_CE_OVERRIDES", "{", nil, "K_CE_OVERRIDES", 500},
		"overrides, not valid":  {sdk.Sink(), "K_CE_OVERRIDES", `{"extensions":{"A-b":"c"}}`, nil, "K_CE_OVERRIDES", 500},
		"an event without type": {sdk.Sink(), "", "", func(e *event.Event) { e.SetType("") }, "type", 500},
		"an empty event":        {sdk.Sink(), "", "", func(e *event.Event) { *e = event.Event{} }, "empty", 500},
		"too much data": {sdk.Sink(), "", "", func(e *event.Event) {
			_ = e.SetData("text/plain", strings.Repeat("x", sdk.MaxBytes))
		}, "more than 10485760", 413},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kit := sdktest.New(t)
			if c.env != "" {
				t.Setenv(c.env, c.value)
			}
			e := placed(t)
			if c.event != nil {
				c.event(&e)
			}
			err := sdk.EmitTo(kit.Context(), c.to, e)
			if err == nil || !strings.Contains(err.Error(), c.want) || sdk.StatusOf(err) != c.code {
				t.Errorf("error %v of status %d, want %q of %d", err, sdk.StatusOf(err), c.want, c.code)
			}
			if sent := kit.Sent(); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

func TestABrokerThatIsNotThereIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sdktest.New(t)
		kit.Answer("broker/orders", answers([]int{404}, ""))
		err := sdk.EmitTo(kit.Context(), sdk.Broker("orders"), placed(t))
		if err == nil || !strings.Contains(err.Error(), "is there a broker orders in the namespace test") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestBrokersOfAnotherClass(t *testing.T) {
	kit := sdktest.New(t)
	t.Setenv("KNIT_BROKER_INGRESS", "http://kafka-ingress.example/brokers/")
	if err := sdk.EmitTo(kit.Context(), sdk.Broker("orders"), placed(t)); err != nil {
		t.Fatal(err)
	}
	if to := kit.Sent()[0].To; to != "http://kafka-ingress.example/brokers/test/orders" {
		t.Errorf("sent to %s", to)
	}
	t.Setenv("KNIT_BROKER_INGRESS", "")
	if err := sdk.EmitTo(kit.Context(), sdk.Broker("orders"), placed(t)); err != nil {
		t.Fatal(err)
	}
	if to := kit.Sent()[1].To; to != "http://broker-ingress.knative-eventing.svc.cluster.local/test/orders" {
		t.Errorf("sent to %s", to)
	}
}

func ExampleTyped() {
	type Order struct{ Item string }
	handle := sdk.Typed(func(_ context.Context, in sdk.Event[Order]) (*sdk.Event[string], error) {
		return &sdk.Event[string]{Type: "order.taken", Data: "took " + in.Data.Item}, nil
	})
	e, _ := sdk.NewEvent("order.placed", Order{"tea"})
	reply, _ := handle(context.Background(), e)
	fmt.Println(reply.Type(), string(reply.Data()))
	// Output: order.taken "took tea"
}
