// Command peer serves the benchmark's function by Google's functions-framework
// for Go: an event by the framework's CloudEvents signature, which knows no
// answer, or an echo by an HTTP function and the CloudEvents SDK. Only the
// benchmark builds it; it is a module of its own.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

func init() {
	functions.CloudEvent("take", func(context.Context, event.Event) error { return nil })
	functions.HTTP("echo", echo)
}

func echo(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := cehttp.WriteResponseWriter(r.Context(), (*binding.EventMessage)(e), http.StatusOK, w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// FUNCTION_TARGET chooses the function.
func main() {
	if err := funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
