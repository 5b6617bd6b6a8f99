//go:build go1.24

package shim

import (
	"context"
	"net/http"
	"time"
)

// timeoutHeader is how long the caller of a request waits for its answer.
const timeoutHeader = "Knit-Timeout"

// timeoutOf is the time for one request: that of the process, or what the caller
// has left when that is less.
func (s *server) timeoutOf(r *http.Request) time.Duration {
	asked, err := time.ParseDuration(r.Header.Get(timeoutHeader))
	if err != nil || asked <= 0 {
		return s.settings.Timeout
	}
	return min(asked, s.settings.Timeout)
}

// withHeader lets user code find the request's header in the context, of an
// event as well. Knit's SDK reads it; neither knows the other, but an unnamed
// struct type is the same in every package.
func withHeader(ctx context.Context, header http.Header) context.Context {
	return context.WithValue(ctx, any(struct{ KnitRequestHeader bool }{}), header)
}
