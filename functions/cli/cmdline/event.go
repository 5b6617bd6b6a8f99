package cmdline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// MaxEvent is the largest data of an event in bytes: an event is held in
// memory by every hop on its way.
const MaxEvent = 1 << 20

// EventFlags describe a CloudEvent on a command line.
type EventFlags struct {
	Type, Source, Subject, ID, ContentType string
	Extensions                             map[string]string
	prefix                                 string
}

// Add declares the flags, each name after the prefix, such as "event-".
func (e *EventFlags) Add(flags *pflag.FlagSet, prefix string) {
	e.prefix = prefix
	flags.StringVar(&e.Type, prefix+"type", "", "type of the CloudEvent, such as com.example.created")
	flags.StringVar(&e.Source, prefix+"source", "", "source of the CloudEvent (default \"/knit/cli\")")
	flags.StringVar(&e.Subject, prefix+"subject", "", "subject of the CloudEvent")
	flags.StringVar(&e.ID, prefix+"id", "", "id of the CloudEvent (default: a new one)")
	flags.StringVar(&e.ContentType, prefix+"content-type", "", "type of the data (default: application/json if it is JSON, text/plain if it is text)")
	flags.StringToStringVar(&e.Extensions, prefix+"extension", nil, "further attributes as name=value")
}

// Set tells whether any of the flags was given.
func (e *EventFlags) Set() bool {
	return e.Type != "" || e.Source != "" || e.Subject != "" || e.ID != "" || e.ContentType != "" || len(e.Extensions) > 0
}

// Event makes the CloudEvent.
func (e *EventFlags) Event(data io.Reader, now time.Time) (cloudevents.Event, error) {
	event := cloudevents.NewEvent()
	if e.Type == "" {
		return event, Usagef("a CloudEvent needs a type: add --%stype", e.prefix)
	}
	event.SetType(e.Type)
	event.SetSource(orElse(e.Source, "/knit/cli"))
	event.SetID(orElse(e.ID, string(uuid.NewUUID())))
	event.SetTime(now)
	if e.Subject != "" {
		event.SetSubject(e.Subject)
	}
	for name, value := range e.Extensions {
		event.SetExtension(strings.ToLower(name), value)
	}
	if data != nil {
		raw, err := io.ReadAll(io.LimitReader(data, MaxEvent+1))
		if err != nil {
			return event, fmt.Errorf("read the data of the event: %w", err)
		}
		if len(raw) > MaxEvent {
			return event, Usagef("the data of the event is larger than %s: put it somewhere and send its address", Bytes(MaxEvent))
		}
		event.SetDataContentType(orElse(e.ContentType, guess(raw)))
		event.DataEncoded = raw
	}
	if err := event.Validate(); err != nil {
		return event, Usage(fmt.Errorf("this is no valid CloudEvent: %w", err))
	}
	return event, nil
}

// EventRequest makes the HTTP request that sends an event in binary mode.
func EventRequest(ctx context.Context, target string, event cloudevents.Event) (*http.Request, error) {
	request, err := cehttp.NewHTTPRequestFromEvent(ctx, target, event)
	if err != nil {
		return nil, fmt.Errorf("write the CloudEvent: %w", err)
	}
	return request, nil
}

// guess names the media type of data that came without one.
func guess(data []byte) string {
	switch {
	case json.Valid(data):
		return "application/json"
	case !utf8.Valid(data):
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8"
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
