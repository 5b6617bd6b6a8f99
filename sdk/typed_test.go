package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/sdk"
	"github.com/knit-dev/knit/sdk/sdktest"
)

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

func (o *order) Validate() error {
	if o.Count < 0 {
		return fmt.Errorf("count is %d", o.Count)
	}
	return nil
}

type receipt struct {
	Text string `json:"text"`
}

func accept(_ context.Context, in sdk.Event[order]) (*sdk.Event[receipt], error) {
	switch in.Data.Item {
	case "nothing":
		return nil, nil
	case "failure":
		return nil, errors.New("no disk")
	case "later":
		return nil, sdk.Retry("the store is closed")
	case "late":
		return nil, fmt.Errorf("wait: %w", context.DeadlineExceeded)
	case "untyped":
		return &sdk.Event[receipt]{}, nil
	}
	return &sdk.Event[receipt]{Type: "order.accepted", Extensions: map[string]any{"shop": "main"}, Data: receipt{fmt.Sprintf("%d %s", in.Data.Count, in.Data.Item)}}, nil
}

func TestTyped(t *testing.T) {
	cases := map[string]struct {
		reason  string
		data    any
		status  int
		retried bool
		reply   string
		err     string
	}{
		"a reply":        {"data goes in and out by type", order{"tea", 2}, 200, false, "2 tea", ""},
		"no reply":       {"nil is no event", order{Item: "nothing"}, 204, false, "", ""},
		"no data":        {"the zero value is as good as any", nil, 200, false, "0 ", ""},
		"other data":     {"another try would not help", []int{1}, 422, false, "", "does not fit sdk_test.order"},
		"data not valid": {"the type itself says so", order{Item: "tea", Count: -1}, 422, false, "", "count is -1"},
		"an error":       {"may pass", order{Item: "failure"}, 500, true, "", "no disk"},
		"a retry":        {"was asked for", order{Item: "later"}, 503, true, "", "the store is closed"},
		"a deadline":     {"is the runtime's 504", order{Item: "late"}, 504, true, "", "wait"},
		"a wrong reply":  {"must not be lost without a word", order{Item: "untyped"}, 500, true, "", "type"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kit := sdktest.New(t)
			e := event.New()
			e.SetID("1")
			e.SetType("order.placed")
			e.SetSource("/test")
			e.SetSubject("o-1")
			if c.data != nil {
				if err := e.SetData(event.ApplicationJSON, c.data); err != nil {
					t.Fatal(err)
				}
			}
			got := kit.Deliver(sdk.Typed(accept), e)
			if got.Status != c.status || got.Retried != c.retried {
				t.Errorf("%s: status %d retried %t, want %d %t (%v)", c.reason, got.Status, got.Retried, c.status, c.retried, got.Err)
			}
			if c.err != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), c.err)) {
				t.Errorf("%s: error %v, want %q in it", c.reason, got.Err, c.err)
			}
			if c.reply == "" {
				if got.Reply != nil {
					t.Errorf("%s: reply %v, want none", c.reason, got.Reply)
				}
				return
			}
			if data := sdktest.Data[receipt](t, got.Reply); data.Text != c.reply {
				t.Errorf("%s: reply %q, want %q", c.reason, data.Text, c.reply)
			}
			if got.Reply.Source() != "/functions/test/function" || got.Reply.Subject() != "o-1" || got.Reply.Extensions()["shop"] != "main" || got.Reply.Time().IsZero() {
				t.Errorf("%s: attributes of the reply: %v", c.reason, got.Reply)
			}
		})
	}
}

func TestTheSameEventIsAnsweredWithTheSameID(t *testing.T) {
	kit := sdktest.New(t)
	one, other := sdktest.Event(t, "order.placed", order{Item: "tea"}), sdktest.Event(t, "order.placed", order{Item: "tea"})
	first, again, different := kit.Deliver(sdk.Typed(accept), one), kit.Deliver(sdk.Typed(accept), one), kit.Deliver(sdk.Typed(accept), other)
	vector := one.Clone() // that of the other languages' tests
	vector.SetID("1")
	vector.SetSource("/test")
	if id := kit.Deliver(sdk.Typed(accept), vector).Reply.ID(); id != "6f8c96b7868868bb2e6761f11aa22806" {
		t.Errorf("id %s is not that of the other languages", id)
	}
	if first.Reply.ID() != again.Reply.ID() || first.Reply.ID() == different.Reply.ID() {
		t.Errorf("ids %s, %s and, of another event, %s", first.Reply.ID(), again.Reply.ID(), different.Reply.ID())
	}
}

func TestStatusOf(t *testing.T) {
	cases := map[string]struct {
		err  error
		want int
	}{
		"nothing":               {nil, 200},
		"no status":             {errors.New("x"), 500},
		"a status":              {sdk.Errorf(409, "x"), 409},
		"a status, wrapped":     {fmt.Errorf("y: %w", sdk.Errorf(409, "x")), 409},
		"a status of no error":  {sdk.Errorf(200, "x"), 500},
		"a rejection":           {sdk.Reject("x"), 422},
		"the deadline":          {context.DeadlineExceeded, 504},
		"a status wins over it": {sdk.Errorf(503, "x: %w", context.DeadlineExceeded), 503},
	}
	for name, c := range cases {
		if got := sdk.StatusOf(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestContext(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	cases := map[string]struct{ requestID, traceParent, want string }{
		"an id":          {"r-1", parent, "r-1"},
		"a trace alone":  {"", parent, "0af7651916cd43dd8448eb211c80319c"},
		"a broken trace": {"", "00", ""},
		"nothing":        {"", "", ""},
	}
	for name, c := range cases {
		header := http.Header{}
		header.Set("X-Request-Id", c.requestID)
		header.Set("Traceparent", c.traceParent)
		ctx := sdk.WithHeader(t.Context(), header)
		if got := sdk.RequestID(ctx); got != c.want || sdk.TraceParent(ctx) != c.traceParent {
			t.Errorf("%s: request %q of trace %q, want %q", name, got, sdk.TraceParent(ctx), c.want)
		}
	}
	if sdk.RequestID(t.Context()) != "" {
		t.Error("a context without a request has a request id")
	}
	sdktest.New(t)
	if got, want := sdk.Myself(), (sdk.Self{Function: "function", Namespace: "test", Revision: "function-00001"}); got != want {
		t.Errorf("the function is %+v, want %+v", got, want)
	}
}
