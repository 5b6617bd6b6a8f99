//go:build go1.24

package shim

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// TestAJobThatGivesUpItsConnection: net/http's way to break off an answer is a
// failure of a job, which has no connection.
func TestAJobThatGivesUpItsConnection(t *testing.T) {
	env := map[string]string{"KNIT_MODE": "job"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	var out bytes.Buffer
	if code := run(context.Background(), Function{Handler: HTTP(abort)}, lookup, &out); code != exitFailed {
		t.Errorf("exit code %d, log %s", code, out.String())
	}
}

// TestTheTraceIsLogged with every line that is logged with a request's context,
// also by loggers that the function derives.
func TestTheTraceIsLogged(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, slog.LevelInfo)
	ctx := withTraceparent(context.Background(), "00-1-2-01")
	log.InfoContext(ctx, "a")
	log.With("k", "v").InfoContext(ctx, "b")
	log.WithGroup("g").InfoContext(ctx, "c", "k", "v")
	log.Info("without a context")
	if got := strings.Count(out.String(), `"traceparent":"00-1-2-01"`); got != 3 {
		t.Errorf("%d of 3 lines have it: %s", got, out.String())
	}
}
