//go:build go1.24

package shim

import (
	"context"
	"log/slog"
	"net/http"
)

// The keys under which a request's context holds its traceparent and tracestate.
// They are of no named type, so that code which cannot import this package, the
// user's for one, can ask: ctx.Value(struct{ Knit string }{"traceparent"}).
var (
	traceKey = struct{ Knit string }{"traceparent"}
	stateKey = struct{ Knit string }{"tracestate"}
)

// eventKey is the key under which it holds a function that takes the names of
// the event that the request turns out to be: func(id, source, kind, subject
// string). Package cloudevent calls it.
var eventKey = struct{ Knit string }{"event"}

func withTrace(ctx context.Context, header http.Header, observed *observation) context.Context {
	if traceparent := header.Get("Traceparent"); traceparent != "" {
		ctx = context.WithValue(ctx, traceKey, traceparent)
	}
	if state := header.Get("Tracestate"); state != "" {
		ctx = context.WithValue(ctx, stateKey, state)
	}
	if observed != nil {
		ctx = context.WithValue(ctx, eventKey, observed.event)
	}
	return ctx
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
