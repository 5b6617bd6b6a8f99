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
	if err := validate(e); err != nil {
		return fmt.Errorf("the function returned an invalid event: %w", err)
	}
	c, ok := e.Context.(*event.EventContextV1)
	if !ok {
		c = e.Context.AsV1()
	}
	h := headerWriter{header: w.Header(), values: make([]string, 0, 10)}
	h.set("Ce-Specversion", event.CloudEventsVersionV1)
	h.set("Ce-Id", c.ID)
	h.set("Ce-Type", c.Type)
	h.set("Ce-Source", c.Source.String())
	if c.Subject != nil {
		h.set("Ce-Subject", *c.Subject)
	}
	if c.DataSchema != nil {
		h.set("Ce-Dataschema", c.DataSchema.String())
	}
	if c.Time != nil && !c.Time.IsZero() {
		h.set("Ce-Time", c.Time.UTC().Format(time.RFC3339Nano))
	}
	for name, value := range c.Extensions {
		text, err := types.Format(value)
		if err != nil {
			return fmt.Errorf("the function returned an event with extension %s: %w", name, err)
		}
		h.set(textproto.CanonicalMIMEHeaderKey(headerPrefix+name), text)
	}
	if c.DataContentType != nil {
		h.setVerbatim("Content-Type", *c.DataContentType)
	}
	w.WriteHeader(http.StatusOK)
	// The peer that is gone has no use for an error, and the header is out.
	_, _ = w.Write(e.Data())
	return nil
}

// headerWriter sets attributes under canonical names. Their values share one
// slice.
type headerWriter struct {
	header http.Header
	values []string
}

func (h *headerWriter) set(name, value string) { h.setVerbatim(name, escapeHeader(value)) }

func (h *headerWriter) setVerbatim(name, value string) {
	if value == "" {
		return
	}
	h.values = append(h.values, value)
	last := len(h.values)
	h.header[name] = h.values[last-1 : last : last]
}

// escapeHeader percent-encodes what the HTTP binding, section 3.1.3.2, says
// may not stand in a header value: all but printable ASCII, and space, quote
// and percent.
func escapeHeader(value string) string {
	first := 0
	for first < len(value) && !mustEscape(value[first]) {
		first++
	}
	if first == len(value) {
		return value
	}
	var b strings.Builder
	b.WriteString(value[:first])
	for _, c := range []byte(value[first:]) {
		if mustEscape(c) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func mustEscape(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }
