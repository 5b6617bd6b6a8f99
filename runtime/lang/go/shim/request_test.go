//go:build go1.24

package shim

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/knit-dev/knit/sdk"
)

func TestARequestIsBoundByWhatItsCallerHasLeft(t *testing.T) {
	cases := map[string]struct {
		header string
		want   time.Duration
	}{
		"nothing said":     {"", time.Minute},
		"less":             {"1500ms", 1500 * time.Millisecond},
		"more":             {"2h", time.Minute},
		"nothing left":     {"0s", time.Minute},
		"no duration":      {"soon", time.Minute},
		"a negative value": {"-1s", time.Minute},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var left time.Duration
			var trace string
			handler := func(_ http.ResponseWriter, r *http.Request) {
				deadline, _ := r.Context().Deadline()
				left, trace = time.Until(deadline), sdk.TraceParent(r.Context())
			}
			srv := newServer(settings{Timeout: time.Minute}, Function{Handler: HTTP(handler)}, slog.New(slog.NewJSONHandler(io.Discard, nil)))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Traceparent", "00-a-b-01")
			if c.header != "" {
				r.Header.Set("Knit-Timeout", c.header)
			}
			srv.route(httptest.NewRecorder(), r)
			if left > c.want || left < c.want-time.Second {
				t.Errorf("the function has %s, want %s", left, c.want)
			}
			if trace != "00-a-b-01" {
				t.Errorf("the SDK finds the trace context %q", trace)
			}
		})
	}
}
