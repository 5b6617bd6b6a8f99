//go:build go1.24

// Package cloudevent turns a CloudEvents function into an HTTP handler: it
// decodes the event from binary or structured mode, calls the function and
// answers with the event it returns or with a status that tells the sender
// whether to try again. Like the shim it is embedded by runtime/lang/go and
// compiled into function images.
//
// It decodes by itself and imports no more of the SDK than its event package
// does: the SDK's HTTP protocol package needs modules that the go.sum or the
// vendor folder of a function which only imports event does not hold.
package cloudevent

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Func is the widest form of a CloudEvents function; the generated main adapts
// the narrower ones to it.
type Func func(context.Context, event.Event) (*event.Event, error)

// observer is the key under which the shim, which this package does not import,
// keeps who wants to know about the event.
var observer any = struct{ KnitEventObserver bool }{}

// Handler serves events by POST on every path.
func Handler(handle Func) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "this function takes CloudEvents: send one by POST", http.StatusMethodNotAllowed)
			return
		}
		incoming, err := decode(r)
		if err != nil {
			http.Error(w, err.Error(), statusOf(err))
			return
		}
		if observe, ok := r.Context().Value(observer).(func(id, source, kind, subject string)); ok {
			observe(incoming.ID(), incoming.Source(), incoming.Type(), incoming.Subject())
		}
		reply, err := handle(r.Context(), incoming)
		if err != nil && !acknowledged(err) {
			refuse(r.Context(), w, incoming, err)
			return
		}
		if reply == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if err := encode(w, *reply); err != nil {
			refuse(r.Context(), w, incoming, err)
		}
	})
}

// refuse logs why an event was not handled and answers with the status for it.
func refuse(ctx context.Context, w http.ResponseWriter, e event.Event, err error) {
	status := statusOf(err)
	slog.ErrorContext(ctx, "event not handled",
		"eventID", e.ID(), "eventType", e.Type(), "eventSource", e.Source(), "status", status, "error", err.Error())
	http.Error(w, err.Error(), status)
}
