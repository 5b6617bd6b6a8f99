// Package function takes CloudEvents and answers each with another one.
package function

import (
	"context"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Handle is called for every event. What it returns goes back to the broker:
// an event, or nil for none. After an error the broker tries again.
func Handle(_ context.Context, e event.Event) (*event.Event, error) {
	var order struct {
		Item string `json:"item"`
	}
	if err := e.DataAs(&order); err != nil {
		return nil, fmt.Errorf("read the order of event %s: %w", e.ID(), err)
	}
	reply := event.New()
	reply.SetID(e.ID() + "-taken")
	reply.SetType("com.example.order.taken")
	reply.SetSource("/function")
	if err := reply.SetData(event.ApplicationJSON, order); err != nil {
		return nil, err
	}
	return &reply, nil
}
