//go:build go1.24

package shim

import (
	"context"
	"log/slog"
	"net/http"
)

// withObservation lets package cloudevent tell which event the request turned
// out to be: it calls func(id, source, kind, subject string). Neither imports
// the other, but an unnamed struct type is the same in every package.
func withObservation(ctx context.Context, observed *observation) context.Context {
	if observed == nil {
		return ctx
	}
	return context.WithValue(ctx, any(struct{ KnitEventObserver bool }{}), observed.event)
}

// tracedHandler adds the traceparent to what is logged with a request's context.
type tracedHandler struct{ slog.Handler }

func (h tracedHandler) Handle(ctx context.Context, record slog.Record) error {
	header, _ := ctx.Value(any(struct{ KnitRequestHeader bool }{})).(http.Header)
	if traceparent := header.Get("Traceparent"); traceparent != "" {
		record.AddAttrs(slog.String("traceparent", traceparent))
	}
	return h.Handler.Handle(ctx, record)
}

func (h tracedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return tracedHandler{h.Handler.WithAttrs(attributes)}
}

func (h tracedHandler) WithGroup(name string) slog.Handler {
	return tracedHandler{h.Handler.WithGroup(name)}
}
