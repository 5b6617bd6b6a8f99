package conformance

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID    = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + parentID + "-01"
)

// entry is one line of the log.
type entry map[string]any

func (e entry) text(key string) string {
	text, _ := e[key].(string)
	return text
}

// readLog wants JSON with time, level and message on every line but those that
// the function printed itself.
func readLog(t *testing.T, log string) []entry {
	t.Helper()
	var entries []entry
	for line := range strings.Lines(log) {
		if line == "plain words\n" {
			continue
		}
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("log line %q is no JSON: %v", line, err)
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, e.text("time"))
		if _, offset := at.Zone(); err != nil || offset != 0 || !strings.HasSuffix(e.text("time"), "Z") {
			t.Errorf("time %q is none in UTC: %v", e.text("time"), err)
		}
		if !slices.Contains([]string{"DEBUG", "INFO", "WARN", "ERROR"}, e.text("level")) || e["msg"] == nil {
			t.Errorf("log line %q has no level or message", line)
		}
		entries = append(entries, e)
	}
	return entries
}

// find wants exactly one line with these fields.
func find(t *testing.T, entries []entry, want entry) entry {
	t.Helper()
	var found []entry
	for _, e := range entries {
		fits := true
		for key, value := range want {
			fits = fits && e[key] == value
		}
		if fits {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Errorf("the log has %d lines with %v, want one: %v", len(found), want, entries)
		return entry{}
	}
	return found[0]
}

func TestTheLogOfRequests(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_LOG_LEVEL=debug")
		secrets := []string{"Traceparent: " + traceparent, "Authorization: Bearer secret-token", "Cookie: a=secret-cookie", "Content-Type: text/plain"}
		for _, target := range []string{"/fail?q=secret-query", "/log?q=secret-query", "/print?q=secret-query"} {
			p.Send(http.MethodPost, target, strings.NewReader("secret-body"), secrets...)
		}
		if code := p.Stop(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		log := readLog(t, p.Log())
		find(t, log, entry{"level": "INFO", "msg": "function ready"})
		find(t, log, entry{"level": "INFO", "msg": "function draining"})
		find(t, log, entry{"level": "INFO", "msg": "function stopped"})
		t.Run("a failure has its stack and its request", func(t *testing.T) {
			e := find(t, log, entry{"level": "ERROR", "msg": "function panicked", "method": "POST", "path": "/fail", "traceparent": traceparent})
			if !strings.Contains(e.text("panic"), "boom") || !strings.Contains(e.text("stack"), l.source) {
				t.Errorf("panic %q, stack %q", e["panic"], e["stack"])
			}
		})
		t.Run("one line per request at debug", func(t *testing.T) {
			e := find(t, log, entry{"level": "DEBUG", "msg": "request", "method": "POST", "path": "/fail", "status": 500.0, "traceparent": traceparent})
			if e.text("duration") == "" {
				t.Errorf("no duration: %v", e)
			}
		})
		t.Run("what the function logs joins", func(t *testing.T) {
			find(t, log, entry{"level": "INFO", "msg": "said", "tier": "gold", "traceparent": traceparent})
		})
		t.Run("what the function prints passes", func(t *testing.T) {
			if !strings.Contains(p.Log(), "\nplain words\n") {
				t.Errorf("it did not: %s", p.Log())
			}
		})
		t.Run("nothing of the request that may be a secret", func(t *testing.T) {
			if strings.Contains(p.Log(), "secret") {
				t.Errorf("log %s", p.Log())
			}
		})
	})
}

func TestTheLogOfEvents(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture)
		for _, kind := range []string{"fail", "panic", "log"} {
			p.Send(http.MethodPost, "/", nil, binary(kind, "Traceparent: "+traceparent)...)
		}
		p.Send(http.MethodPost, "/", strings.NewReader(`{"status":422}`), binary("code", "Traceparent: "+traceparent, "Content-Type: application/json")...)
		if code := p.Stop(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		log := readLog(t, p.Log())
		event := func(message, kind string, more entry) entry {
			want := entry{"level": "ERROR", "msg": message, "eventType": kind, "eventID": "1", "eventSource": "/s", "traceparent": traceparent}
			for key, value := range more {
				want[key] = value
			}
			return want
		}
		find(t, log, event(l.unforeseen, "fail", nil))
		find(t, log, event("function panicked", "panic", nil))
		find(t, log, event("event not handled", "code", entry{"status": 422.0}))
		find(t, log, entry{"level": "INFO", "msg": "said", "tier": "gold", "traceparent": traceparent})
	})
}

// TestTheLogIsQuietAtInfo: a request leaves no line.
func TestTheLogIsQuietAtInfo(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		p.Get("/")
		p.Stop()
		if log := readLog(t, p.Log()); len(log) != 3 {
			t.Errorf("want ready, draining and stopped, got %s", p.Log())
		}
	})
}
