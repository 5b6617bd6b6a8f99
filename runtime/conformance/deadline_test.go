package conformance

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
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

func TestARequestIsBoundByWhatItsCallerHasLeft(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_TIMEOUT=30s")
		begun := time.Now()
		resp, body := p.Send(http.MethodGet, "/deadline", nil, "Knit-Timeout: 200ms")
		if resp.StatusCode != http.StatusGatewayTimeout || time.Since(begun) > 15*time.Second {
			t.Errorf("got %d %q after %s", resp.StatusCode, body, time.Since(begun))
		}
		if resp, body := p.Send(http.MethodPost, "/read", strings.NewReader("x"), "Content-Type: text/plain", "Knit-Timeout: soon"); resp.StatusCode != http.StatusOK {
			t.Errorf("no duration got %d %q", resp.StatusCode, body)
		}
	})
}
