//go:build go1.25

package sdk_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/sdk"
	"github.com/knit-dev/knit/sdk/sdktest"
)

func readBody(t *testing.T, r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return body
}

func TestCall(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer http.HandlerFunc
		want   string
		status int
		err    string
	}{
		"an answer":     {"goes in and out by type", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"text":"fine"}`)) }, "fine", 200, ""},
		"no answer":     {"is the zero value", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", 200, ""},
		"a failure":     {"keeps its status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such order", 404) }, "", 404, "call function payment: answered 404 Not Found: no such order"},
		"another thing": {"is the callee's fault", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[1]")) }, "", 502, "does not fit"},
		"too much": {"is not read to its end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`"` + strings.Repeat("x", sdk.MaxBytes) + `"`))
		}, "", 500, "more than"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kit := sdktest.New(t)
			kit.Answer("function/payment", c.answer)
			got, err := sdk.Call[receipt](kit.Context(), "payment", order{"tea", 1})
			if sdk.StatusOf(err) != c.status || got.Text != c.want || (c.err != "" && !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%s: %+v %v, want %q of status %d with %q", c.reason, got, err, c.want, c.status, c.err)
			}
			if sent := kit.Sent(); len(sent) != 1 || string(sent[0].Body) != `{"item":"tea","count":1}` {
				t.Errorf("%s: sent %+v", c.reason, sent)
			}
		})
	}
}

func TestSendReturnsTheReply(t *testing.T) {
	cases := map[string]struct {
		answer http.HandlerFunc
		want   string // data of the reply
		err    string
	}{
		"binary mode": {func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "re%20ply", "Ce-Type": "order.taken", "Ce-Source": "/p", "Ce-Time": "2026-01-02T03:04:05Z", "Ce-Shop": "main", "Content-Type": "application/json"} {
				w.Header().Set(name, value)
			}
			_, _ = w.Write([]byte(`{"text":"taken"}`))
		}, "taken", ""},
		"structured mode": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/cloudevents+json")
			_, _ = w.Write([]byte(`{"specversion":"1.0","id":"re ply","type":"order.taken","source":"/p","shop":"main","data":{"text":"taken"}}`))
		}, "taken", ""},
		"nothing":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", ""},
		"an event of no kind": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Ce-Specversion", "1.0") }, "", "no valid event"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kit := sdktest.New(t)
			kit.Answer("function/payment", c.answer)
			reply, err := sdk.Send(kit.Context(), "payment", placed(t))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q in it", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if reply != nil {
					t.Errorf("reply %v", reply)
				}
				return
			}
			if data := sdktest.Data[receipt](t, reply); data.Text != c.want || reply.ID() != "re ply" || reply.Extensions()["shop"] != "main" {
				t.Errorf("reply %v", reply)
			}
		})
	}
}

// toServer sends what is for any function to one server.
type toServer string

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Was-For", r.URL.Host)
	r.URL.Host = string(s)
	return http.DefaultTransport.RoundTrip(r)
}

func TestCallsPassTraceAndDeadlineOn(t *testing.T) {
	sdktest.New(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(sdk.WithTransport(served(t), toServer(strings.TrimPrefix(server.URL, "http://"))), 300*time.Millisecond)
	defer cancel()
	header, err := sdk.Call[http.Header](ctx, "payment", nil)
	if err != nil {
		t.Fatal(err)
	}
	if header.Get("Was-For") != "payment.test.svc.cluster.local" || header.Get("Traceparent") != trace || header.Get("X-Request-Id") != "r-1" {
		t.Errorf("the other function got %v", header)
	}
	if left, err := time.ParseDuration(header.Get("Knit-Timeout")); err != nil || left <= 0 || left > 300*time.Millisecond {
		t.Errorf("Knit-Timeout is %q", header.Get("Knit-Timeout"))
	}
	slow, err := http.NewRequestWithContext(ctx, http.MethodGet, "/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sdk.Do("payment", slow); sdk.StatusOf(err) != 504 {
		t.Errorf("a function that is too slow gives %v", err)
	}
	for _, name := range []string{"", "a.b", "-a", "a/b"} {
		if _, err := sdk.FunctionURL(name); err == nil {
			t.Errorf("%q is taken for the name of a function", name)
		}
	}
}

func TestEventOfARequest(t *testing.T) {
	const structured = `{"specversion":"1.0","id":"1","type":"order.placed","source":"/s","data":{"item":"tea"}}`
	cases := map[string]struct {
		header map[string]string
		body   string
		want   string // id and data
		status int
	}{
		"binary mode":         {map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Type": "order.placed", "Ce-Source": "/s", "Content-Type": "application/json"}, `{"item":"tea"}`, `1 {"item":"tea"}`, 200},
		"structured mode":     {map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"}, structured, `1 {"item":"tea"}`, 200},
		"an ordinary one":     {map[string]string{"Content-Type": "application/json"}, structured, "", 200},
		"not a valid one":     {map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1"}, "", "", 400},
		"not JSON":            {map[string]string{"Content-Type": "application/cloudevents+json"}, "{", "", 400},
		"one that is too big": {map[string]string{"Ce-Specversion": "1.0"}, strings.Repeat("x", sdk.MaxBytes+1), "", 413},
	}
	for name, c := range cases {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		for name, value := range c.header {
			r.Header.Set(name, value)
		}
		got := ""
		e, err := sdk.EventOf(r)
		if e != nil {
			got = e.ID() + " " + string(e.Data())
		}
		if sdk.StatusOf(err) != c.status || got != c.want {
			t.Errorf("%s: %q %v, want %q of status %d", name, got, err, c.want, c.status)
		}
	}
}
