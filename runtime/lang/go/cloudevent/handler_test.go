//go:build go1.24

package cloudevent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
)

// request builds a request from "Header: value" lines.
func request(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

var binary = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Type: t", "Ce-Source: /s"}

func serve(f Func, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler(f).ServeHTTP(w, r)
	return w
}

func TestEventsReachTheFunction(t *testing.T) {
	const structured = `{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold","datacontenttype":"application/json","data":{"a":1}}`
	cases := map[string]*http.Request{
		"structured mode": request(structured, "Content-Type: application/cloudevents+json; charset=utf-8"),
		"binary mode": request(`{"a":1}`, append(binary, "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z",
			"Ce-Tier: gold", "Content-Type: application/json")...),
	}
	for name, r := range cases {
		t.Run(name, func(t *testing.T) {
			var got event.Event
			w := serve(func(_ context.Context, e event.Event) (*event.Event, error) { got = e; return nil, nil }, r)
			if w.Code != http.StatusNoContent {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			have := []any{got.ID(), got.Type(), got.Source(), got.Subject(), got.Time().UTC(), got.Extensions()["tier"], got.DataContentType(), string(got.Data())}
			want := []any{"1", "t", "/s", "ü", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "gold", "application/json", `{"a":1}`}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadEventsAreRefused(t *testing.T) {
	cases := map[string]struct {
		request *http.Request
		status  int
		want    string
	}{
		"a batch":              {request("[]", "Content-Type: application/cloudevents-batch+json"), 415, "one event"},
		"another format":       {request("", "Content-Type: application/cloudevents+avro"), 415, "avro"},
		"no event at all":      {request("hello"), 400, "ce-specversion"},
		"broken JSON":          {request("{", "Content-Type: application/cloudevents+json"), 400, "structured event"},
		"structured, no id":    {request(`{"specversion":"1.0","type":"t","source":"/s"}`, "Content-Type: application/cloudevents+json"), 400, "id"},
		"binary, no type":      {request("", "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s"), 400, "type"},
		"an unknown version":   {request("", "Ce-Specversion: 9.9", "Ce-Id: 1"), 400, "9.9"},
		"a time that is none":  {request("", append(binary, "Ce-Time: noon")...), 400, "Ce-Time"},
		"a bad percent escape": {request("", append(binary, "Ce-Subject: %zz")...), 400, "Ce-Subject"},
		"a bad content type":   {request("", append(binary, "Content-Type: a/b/c; =")...), 400, "content type"},
		"a GET":                {httptest.NewRequest(http.MethodGet, "/", nil), 405, "POST"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			called := false
			w := serve(func(context.Context, event.Event) (*event.Event, error) { called = true; return nil, nil }, c.request)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || called {
				t.Errorf("got %d %q (function called: %t), want %d with %q", w.Code, w.Body, called, c.status, c.want)
			}
		})
	}
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	r := request("too long", binary...)
	r.Body = http.MaxBytesReader(nil, r.Body, 3)
	w := serve(func(context.Context, event.Event) (*event.Event, error) { return nil, nil }, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", w.Code)
	}
}

type coded int

func (c coded) Error() string   { return fmt.Sprintf("code %d", int(c)) }
func (c coded) StatusCode() int { return int(c) }

func TestErrorsBecomeStatuses(t *testing.T) {
	cases := map[string]struct {
		err    error
		status int
	}{
		"a plain error is retried":            {errors.New("x"), 500},
		"the deadline":                        {fmt.Errorf("x: %w", context.DeadlineExceeded), 504},
		"a body that came too slowly":         {fmt.Errorf("x: %w", os.ErrDeadlineExceeded), 408},
		"a coded error":                       {fmt.Errorf("x: %w", coded(422)), 422},
		"a code that is no error's":           {coded(700), 500},
		"a code that is a success":            {coded(202), 204},
		"the SDK's result":                    {cehttp.NewResult(http.StatusConflict, "busy"), 409},
		"the SDK's wrapped result":            {fmt.Errorf("x: %w", cehttp.NewResult(429, "busy")), 429},
		"the SDK's result that is a success":  {cehttp.NewResult(200, "ok"), 204},
		"the SDK's receipt, acknowledged":     {protocol.ResultACK, 204},
		"the SDK's receipt, not acknowledged": {protocol.ResultNACK, 500},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := serve(func(context.Context, event.Event) (*event.Event, error) { return nil, c.err }, request("", binary...))
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
		})
	}
}

func TestTheReplyIsABinaryEvent(t *testing.T) {
	w := serve(func(_ context.Context, in event.Event) (*event.Event, error) {
		out := event.New()
		out.SetID("2")
		out.SetType("reply")
		out.SetSource("/f")
		out.SetSubject("grün 5%")
		out.SetExtension("count", 3)
		return &out, out.SetData("application/json", map[string]string{"to": in.ID()})
	}, request("", binary...))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	// The SDK is the other side of the binding, but does not undo percent-encoding.
	e, err := cehttp.NewEventFromHTTPResponse(w.Result())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(strings.NewReader(string(e.Data())))
	have := []any{e.ID(), e.Type(), e.Source(), e.Subject(), e.Extensions()["count"], string(body)}
	want := []any{"2", "reply", "/f", "gr%C3%BCn%205%25", "3", `{"to":"1"}`}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestAnInvalidReplyIsAnError(t *testing.T) {
	w := serve(func(context.Context, event.Event) (*event.Event, error) { e := event.New(); return &e, nil }, request("", binary...))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "invalid event") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
