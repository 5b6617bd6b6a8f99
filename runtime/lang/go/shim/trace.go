//go:build go1.24

package shim

import (
	"context"
	"log/slog"
)

// traceKey is the key under which a request's context holds its traceparent. It
// is no named type, so that code which cannot import this package, the user's
// for one, can ask for it: ctx.Value(struct{ Knit string }{"traceparent"}).
var traceKey = struct{ Knit string }{"traceparent"}

func withTraceparent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey, traceparent)
}

// tracedHandler adds the traceparent to what is logged with a request's context.
type tracedHandler struct{ slog.Handler }

func (h tracedHandler) Handle(ctx context.Context, record slog.Record) error {
	if traceparent, ok := ctx.Value(traceKey).(string); ok {
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
