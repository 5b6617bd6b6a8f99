package conformance

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_TIMEOUT=500ms")
		t.Run("the function sees it", func(t *testing.T) {
			if status, body := p.Get("/deadline"); status != http.StatusGatewayTimeout || !strings.Contains(body, "deadline") {
				t.Errorf("got %d %q", status, body)
			}
		})
		t.Run("the function ignores it", func(t *testing.T) {
			if !l.answersForLate {
				t.Skip("rightly differs")
			}
			if status, body := p.Get("/never"); status != http.StatusGatewayTimeout || !strings.Contains(body, "deadline") {
				t.Errorf("got %d %q", status, body)
			}
		})
		t.Run("an answer that has begun is not cut", func(t *testing.T) {
			if status, body := p.Get("/beyond?ms=900"); status != http.StatusOK || body != "halfwhole" {
				t.Errorf("got %d %q", status, body)
			}
		})
		t.Run("a body that never ends", func(t *testing.T) {
			body, sender := io.Pipe()
			defer func() { _ = sender.Close() }()
			if resp, got := p.Send(http.MethodPost, "/read", body, "Content-Type: text/plain"); resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	})
}

// TestARequestIsBoundByWhatItsCallerHasLeft: nobody waits for an answer any
// longer.
func TestARequestIsBoundByWhatItsCallerHasLeft(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_TIMEOUT=1m")
		if resp, body := p.Send(http.MethodGet, "/deadline", nil, "Knit-Timeout: 200ms"); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
		for name, timeout := range map[string]string{"no duration": "soon", "nothing left": "0s", "a negative value": "-1s", "more than a request may take": "2h"} {
			if resp, body := p.Send(http.MethodGet, "/", nil, "Knit-Timeout: "+timeout); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d %q", name, resp.StatusCode, body)
			}
		}
	})
}

func TestDeadlinesOfEvents(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture, "KNIT_TIMEOUT=500ms")
		t.Run("the function says so", func(t *testing.T) {
			if resp, body := p.Send(http.MethodPost, "/", nil, binary("wait")...); resp.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		})
		t.Run("an event that never ends", func(t *testing.T) {
			body, sender := io.Pipe()
			defer func() { _ = sender.Close() }()
			if resp, got := p.Send(http.MethodPost, "/", body, binary("echo")...); resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	})
}
