package sdk

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// complete fills in id, source and time where they are missing, and refuses
// what is then no valid event.
func complete(e event.Event) (event.Event, error) {
	if e.Context == nil {
		return e, Errorf(500, "the event is empty: begin it with event.New() or sdk.NewEvent")
	}
	e = e.Clone() // the caller's own event stays as it is
	if e.ID() == "" {
		e.SetID(newID())
	}
	if e.Source() == "" {
		e.SetSource(Myself().source())
	}
	if e.Time().IsZero() {
		e.SetTime(time.Now())
	}
	if err := e.Validate(); err != nil {
		return e, fmt.Errorf("event of type %q is not valid: %w", e.Type(), err)
	}
	return e, nil
}

func newID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}
