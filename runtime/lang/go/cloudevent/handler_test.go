//go:build go1.24

package cloudevent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
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

type coded int

func (c coded) Error() string   { return fmt.Sprintf("code %d", int(c)) }
func (c coded) StatusCode() int { return int(c) }

// TestErrorsBecomeStatuses in all forms that Go has for them; the conformance
// suite tests what every language does.
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
		"a code that is neither":              {coded(302), 500},
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

func TestAContentTypeThatIsNone(t *testing.T) {
	w := serve(func(context.Context, event.Event) (*event.Event, error) { return nil, nil }, request("", append(binary, "Content-Type: a/b/c; =")...))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "content type") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
