package function

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandle(t *testing.T) {
	cases := map[string]struct {
		headers map[string]string
		body    string
		status  int
		answer  string
		logged  event
	}{
		"a request is greeted": {status: http.StatusOK, answer: greeting + "\n"},
		"an event in headers is logged": {
			headers: map[string]string{"Ce-Type": "dev.knit.hello", "Ce-Source": "/test", "Ce-Id": "1"},
			status:  http.StatusNoContent,
			logged:  event{Type: "dev.knit.hello", Source: "/test", ID: "1"},
		},
		"an event as JSON is logged": {
			headers: map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"},
			body:    `{"specversion":"1.0","type":"dev.knit.tick","source":"/test","id":"2","data":{"greet":"minute"}}`,
			status:  http.StatusNoContent,
			logged:  event{Type: "dev.knit.tick", Source: "/test", ID: "2"},
		},
		"a broken event is refused": {
			headers: map[string]string{"Content-Type": "application/cloudevents+json"},
			body:    `{`,
			status:  http.StatusBadRequest,
			answer:  "the event is not valid JSON: unexpected EOF\n",
		},
	}
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			for name, value := range c.headers {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			Handle(w, r)
			if w.Code != c.status || w.Body.String() != c.answer {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.answer)
			}
			var logged event
			if log.Len() > 0 {
				if err := json.Unmarshal(log.Bytes(), &logged); err != nil {
					t.Fatal(err)
				}
			}
			if logged != c.logged {
				t.Errorf("logged %+v, want %+v", logged, c.logged)
			}
		})
	}
}
