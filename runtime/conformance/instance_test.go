package conformance

import (
	"net/http"
	"strings"
	"testing"
)

func TestInstancesAreStartedAndStopped(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		check := func(t *testing.T, code int, log string) {
			t.Helper()
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			var calls []string
			for line := range strings.Lines(log) {
				if !strings.HasPrefix(line, "{") {
					calls = append(calls, strings.TrimSpace(line))
				}
			}
			if got := strings.Join(calls, ", "); got != "start word, handle, stop" {
				t.Errorf("calls: %s; log %s", got, log)
			}
		}
		t.Run("serving", func(t *testing.T) {
			p := l.start(t, instanceFixture, "FIXTURE_WORD=word")
			if _, body := p.Get("/"); body != "handled" {
				t.Errorf("got %q", body)
			}
			code := p.Stop()
			check(t, code, p.Log())
		})
		t.Run("as a job", func(t *testing.T) {
			code, result, log := runJob(t, l, instanceFixture, nil, "FIXTURE_WORD=word")
			check(t, code, log)
			if result != "handled" {
				t.Errorf("result %q", result)
			}
		})
		t.Run("one that cannot start", func(t *testing.T) {
			for _, mode := range []string{"serve", "job"} {
				code, log := l.run(t, instanceFixture, "FIXTURE_START=fail", "KNIT_MODE="+mode)
				if code != 1 || !strings.Contains(log, "no database") || !strings.Contains(log, `function not started`) || strings.Contains(log, "handle\n") {
					t.Errorf("mode %s: exit code %d, log %s", mode, code, log)
				}
			}
		})
	})
}

func TestInstancesDecideAboutTheirHealth(t *testing.T) {
	cases := map[string]struct {
		env          string
		ready, alive int
	}{
		"well":      {"FIXTURE_READY=yes", http.StatusOK, http.StatusOK},
		"not ready": {"FIXTURE_READY=no", http.StatusServiceUnavailable, http.StatusOK},
		"not alive": {"FIXTURE_ALIVE=no", http.StatusOK, http.StatusServiceUnavailable},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				p := l.start(t, instanceFixture, c.env)
				ready, _ := p.Get("/health/readiness")
				alive, _ := p.Get("/health/liveness")
				if ready != c.ready || alive != c.alive {
					t.Errorf("readiness %d, liveness %d, want %d and %d", ready, alive, c.ready, c.alive)
				}
			})
		}
	})
}
