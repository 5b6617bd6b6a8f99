package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, taken, _ := net.SplitHostPort(listener.Addr().String())
	cases := map[string]struct {
		env    []string
		code   int
		names  []string // settings that the log names, with their values
		reason string
	}{
		"all wrong at once": {
			env: []string{"PORT=http", "KNIT_TIMEOUT=5", "KNIT_DRAIN_DELAY=-1s", "KNIT_MAX_BODY_BYTES=10Mi", "KNIT_LOG_LEVEL=loud", "KNIT_MODE=dream"}, code: 64,
			names:  []string{"PORT=http", "KNIT_TIMEOUT=5", "KNIT_DRAIN_DELAY=-1s", "KNIT_MAX_BODY_BYTES=10Mi", "KNIT_LOG_LEVEL=loud", "KNIT_MODE=dream"},
			reason: "one start shows every mistake",
		},
		"out of range": {
			env: []string{"PORT=65536", "KNIT_TIMEOUT=0s", "KNIT_MAX_BODY_BYTES=-1"}, code: 64,
			names: []string{"PORT=65536", "KNIT_TIMEOUT=0s", "KNIT_MAX_BODY_BYTES=-1"}, reason: "the form is right, the value is not",
		},
		"no durations of Go": {
			env: []string{"KNIT_TIMEOUT=5 s", "KNIT_DRAIN_DELAY=1d"}, code: 64,
			names: []string{"KNIT_TIMEOUT=5 s", "KNIT_DRAIN_DELAY=1d"}, reason: "durations are Go's in every language",
		},
		"a port that is taken": {env: []string{"PORT=" + taken}, code: 1, reason: "the setting is right, the machine is not"},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				code, log := l.run(t, httpFixture, c.env...)
				if code != c.code {
					t.Errorf("exit code %d, want %d: %s", code, c.code, c.reason)
				}
				var entry struct{ Level, Msg, Error string }
				if lines := strings.Split(strings.TrimSpace(log), "\n"); len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &entry) != nil ||
					entry.Level != "ERROR" || entry.Msg != "function not started" {
					t.Fatalf("want one log line that says so, got %s", log)
				}
				for _, setting := range c.names {
					variable, value, _ := strings.Cut(setting, "=")
					if want := fmt.Sprintf("%s=%q", variable, value); !strings.Contains(entry.Error, want) {
						t.Errorf("%s is not named (%s): %s", want, c.reason, entry.Error)
					}
				}
				if c.code == 1 && !strings.Contains(entry.Error, "PORT") {
					t.Errorf("the next step is not said: %s", entry.Error)
				}
			})
		}
	})
}

// TestSettingsThatAreFine: empty ones are as good as none, and durations may have parts.
func TestSettingsThatAreFine(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_TIMEOUT=1m30.5s", "KNIT_DRAIN_DELAY=1ms", "KNIT_MAX_BODY_BYTES=0", "KNIT_LOG_LEVEL=INFO", "KNIT_MODE=", "KNIT_HOST=127.0.0.1", "PORT=0")
		if status, _ := p.Get("/"); status != 200 {
			t.Errorf("status %d", status)
		}
	})
}
