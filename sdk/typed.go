package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Event is a CloudEvent whose data is a T.
//
// Of one that a handler returns, only Type must be set. Without an ID it gets
// one that is made from the event it answers: the same event delivered twice is
// answered with the same ID, by which the next one can know it.
type Event[T any] struct {
	ID      string
	Type    string
	Source  string // default: /functions/<namespace>/<function>
	Subject string // default of a reply: that of the event it answers
	Time    time.Time
	// Extensions are further attributes: strings, integers, booleans, times, bytes.
	Extensions map[string]any
	Data       T
}

// Handler is an event function as Knit's runtime calls it.
type Handler = func(context.Context, event.Event) (*event.Event, error)

// Typed makes an event function of one whose data has a type:
//
//	var handle = sdk.Typed(accept)
//
//	func Handle(ctx context.Context, e event.Event) (*event.Event, error) { return handle(ctx, e) }
//
//	func accept(ctx context.Context, order sdk.Event[Order]) (*sdk.Event[Payment], error) { … }
//
// Data that does not fit In is answered with 422, so that the event is not
// delivered again; so is data whose method Validate() error, if In or *In has
// one, says no. An event without data gives the zero value of In.
func Typed[In, Out any](handle func(context.Context, Event[In]) (*Event[Out], error)) Handler {
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		in, err := decode[In](e)
		if err != nil {
			return nil, err
		}
		out, err := handle(ctx, in)
		if err != nil || out == nil {
			return nil, err
		}
		reply, err := out.answering(e)
		if err != nil {
			return nil, err
		}
		return &reply, nil
	}
}

func decode[T any](e event.Event) (Event[T], error) {
	in := Event[T]{ID: e.ID(), Type: e.Type(), Source: e.Source(), Subject: e.Subject(), Time: e.Time(), Extensions: e.Extensions()}
	if len(e.Data()) > 0 {
		if err := e.DataAs(&in.Data); err != nil {
			return in, Reject("event %s of type %s: data does not fit %T: %w", e.ID(), e.Type(), in.Data, err)
		}
	}
	if err := validate(&in.Data); err != nil {
		return in, Reject("event %s of type %s: %w", e.ID(), e.Type(), err)
	}
	return in, nil
}

// validate asks data that knows when it is valid.
func validate[T any](data *T) error {
	for _, candidate := range []any{data, *data} {
		if v, ok := candidate.(interface{ Validate() error }); ok {
			return v.Validate()
		}
	}
	return nil
}

// answering is the event as an answer to another one.
func (e Event[T]) answering(to event.Event) (event.Event, error) {
	if e.ID == "" {
		sum := sha256.Sum256([]byte(strings.Join([]string{to.Source(), to.ID(), Myself().source(), e.Type}, "\x00")))
		e.ID = hex.EncodeToString(sum[:16])
	}
	if e.Subject == "" {
		e.Subject = to.Subject()
	}
	return e.CloudEvent()
}

// CloudEvent encodes the event, its data as JSON. It fills in what is missing
// of id, source and time, and fails when the event is not valid.
func (e Event[T]) CloudEvent() (event.Event, error) {
	out := event.New()
	out.SetType(e.Type)
	out.SetID(e.ID)
	out.SetSource(e.Source)
	if e.Subject != "" {
		out.SetSubject(e.Subject)
	}
	if !e.Time.IsZero() {
		out.SetTime(e.Time)
	}
	for name, value := range e.Extensions {
		out.SetExtension(name, value)
	}
	if err := out.SetData(event.ApplicationJSON, e.Data); err != nil {
		return event.Event{}, fmt.Errorf("event of type %s: encode data of type %T: %w", e.Type, e.Data, err)
	}
	return complete(out)
}

// NewEvent is an event of a type with data, which is encoded as JSON.
func NewEvent(eventType string, data any) (event.Event, error) {
	return Event[any]{Type: eventType, Data: data}.CloudEvent()
}
