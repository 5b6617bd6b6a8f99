// Package function is a first function: it answers requests with a greeting
// and logs the events that reach it. See knit.yaml for what sends them.
package function

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
)

// greeting is the line to change: edit it, run `knit deploy` and ask again.
const greeting = "Hello from Knit!"

// Handle serves one request or event.
func Handle(w http.ResponseWriter, r *http.Request) {
	event, isEvent, err := readEvent(r)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case isEvent:
		slog.Info("event received", "type", event.Type, "source", event.Source, "id", event.ID)
		w.WriteHeader(http.StatusNoContent)
	default:
		fmt.Fprintln(w, greeting)
	}
}

// event is the part of a CloudEvent that is logged.
type event struct {
	Type   string `json:"type"`
	Source string `json:"source"`
	ID     string `json:"id"`
}

// readEvent finds a CloudEvent in either of the two forms that it may have
// over HTTP: attributes in headers, or one JSON object.
func readEvent(r *http.Request) (event, bool, error) {
	if r.Header.Get("Ce-Type") != "" {
		return event{Type: r.Header.Get("Ce-Type"), Source: r.Header.Get("Ce-Source"), ID: r.Header.Get("Ce-Id")}, true, nil
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/cloudevents+json" {
		return event{}, false, nil
	}
	var e event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return event{}, false, fmt.Errorf("the event is not valid JSON: %w", err)
	}
	return e, true, nil
}
