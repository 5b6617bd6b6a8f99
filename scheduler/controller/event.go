package controller

import (
	"fmt"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// makeEvent is the event of an action. Everything in it comes from the Schedule
// and the planned time: another attempt sends the same.
func makeEvent(s *v1alpha1.Schedule, a v1alpha1.ActiveAction) (cloudevents.Event, error) {
	template := s.Spec.Event
	event := cloudevents.New(cloudevents.CloudEventsVersionV1)
	event.SetID(a.ID)
	event.SetTime(a.PlannedTime.UTC())
	event.SetType(template.EventType())
	event.SetSource(template.Source)
	if template.Source == "" {
		event.SetSource(fmt.Sprintf("/apis/%s/namespaces/%s/schedules/%s", v1alpha1.GroupVersion, s.Namespace, s.Name))
	}
	if template.Subject != "" {
		event.SetSubject(template.Subject)
	}
	if template.Data != nil && len(template.Data.Raw) > 0 {
		if err := event.SetData(cloudevents.ApplicationJSON, template.Data.Raw); err != nil {
			return event, permanent(fmt.Errorf("spec.event.data: %w", err))
		}
	}
	if err := event.Validate(); err != nil {
		return event, permanent(fmt.Errorf("spec.event makes no CloudEvent: %w", err))
	}
	return event, nil
}
