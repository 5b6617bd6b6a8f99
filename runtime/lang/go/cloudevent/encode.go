//go:build go1.24

package cloudevent

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

func setTime(context *event.EventContextV1, value string) error {
	t, err := types.ParseTime(value)
	if err != nil {
		return err
	}
	return context.SetTime(t)
}

// encode writes the reply in binary mode. An invalid event is an error: the
// sender would otherwise lose the reply without a word.
func encode(w http.ResponseWriter, e event.Event) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("the function returned an invalid event: %w", err)
	}
	header := w.Header()
	attributes := map[string]string{
		"specversion": event.CloudEventsVersionV1,
		"id":          e.ID(),
		"type":        e.Type(),
		"source":      e.Source(),
		"subject":     e.Subject(),
		"dataschema":  e.DataSchema(),
	}
	if t := e.Time(); !t.IsZero() {
		attributes["time"] = t.UTC().Format(time.RFC3339Nano)
	}
	for name, value := range e.Extensions() {
		text, err := types.Format(value)
		if err != nil {
			return fmt.Errorf("the function returned an event with extension %s: %w", name, err)
		}
		attributes[name] = text
	}
	for name, value := range attributes {
		if value != "" {
			header.Set(textproto.CanonicalMIMEHeaderKey(headerPrefix+name), escapeHeader(value))
		}
	}
	if mediaType := e.DataContentType(); mediaType != "" {
		header.Set("Content-Type", mediaType)
	}
	w.WriteHeader(http.StatusOK)
	// The peer that is gone has no use for an error, and the header is out.
	_, _ = w.Write(e.Data())
	return nil
}

// escapeHeader percent-encodes what the HTTP binding, section 3.1.3.2, says
// may not stand in a header value: all but printable ASCII, and space, quote
// and percent.
func escapeHeader(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
