package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
	"github.com/knit-dev/knit/scheduler"
)

// maxHistory is how many actions a status keeps; maxMessage how long the message
// of one may be, in bytes. Both are what the schema takes, or less.
const (
	maxHistory = 20
	maxMessage = 512
)

// sendTimeout bounds one attempt.
const sendTimeout = 10 * time.Second

// act does what is due: it goes on with what is pending, or stores the intent to
// begin with the oldest due time, and then makes one attempt.
func (l *look) act(ctx context.Context, s *v1alpha1.Schedule) error {
	if s.Spec.Suspend {
		return nil
	}
	if s.Status.Pending == nil {
		if begun, err := l.intend(ctx, s); err != nil || !begun {
			return err
		}
	}
	pending := s.Status.Pending
	if late := l.now.Sub(pending.PlannedTime.Time); late > s.Spec.Window() {
		why := pending.Message
		if why == "" {
			why = "whether it was sent is not known"
		}
		l.settle(s, v1alpha1.ActionFailed, fmt.Sprintf("the catch-up window of %s is over; %s", s.Spec.Window(), why))
		return nil
	}
	if next := pending.NextAttemptTime; next != nil && next.After(l.now) {
		return nil
	}
	l.attempt(ctx, s)
	return nil
}

// intend records what was missed, and stores which planned time is acted on now
// before anything is sent. It is the write-ahead of the whole: only one of two
// leaders can make it, and whoever comes after a crash finds it.
func (l *look) intend(ctx context.Context, s *v1alpha1.Schedule) (begun bool, err error) {
	p := l.timetable.Plan(s.Status.LastHandledTime.Time, l.now, s.Spec.Window())
	if p.Missed.Count > 0 {
		record(s, v1alpha1.ScheduleAction{
			PlannedTime: *seconds(p.Missed.First), ActualTime: metav1.NewMicroTime(l.now),
			Result: v1alpha1.ActionMissed, Count: int32(p.Missed.Count),
			Message: fmt.Sprintf("nobody acted on it within the catch-up window of %s", s.Spec.Window()),
		})
		s.Status.LastHandledTime = seconds(p.Handled)
	}
	if p.Due.IsZero() {
		return false, nil
	}
	s.Status.Pending = &v1alpha1.PendingAction{PlannedTime: *seconds(p.Due), ID: scheduler.EventID(string(s.UID), p.Due)}
	return true, reconcile.Checkpoint(ctx, l.Client, s)
}

// attempt sends the pending event once and settles or postpones it.
func (l *look) attempt(ctx context.Context, s *v1alpha1.Schedule) {
	event, err := makeEvent(s)
	if err == nil {
		err = l.unsolved
	}
	if err == nil {
		err = l.Sender.Send(ctx, l.uri, event)
	}
	pending := s.Status.Pending
	pending.Attempts++
	if err == nil {
		l.settle(s, v1alpha1.ActionDelivered, "")
		return
	}
	pending.Message = cut(err.Error())
	if Permanent(err) {
		l.settle(s, v1alpha1.ActionFailed, pending.Message)
		return
	}
	next := metav1.NewMicroTime(l.Now().Add(scheduler.Backoff(pending.Attempts)))
	pending.NextAttemptTime = &next
}

// settle moves the pending action into the history. The planned time is handled
// from here on, never to be looked at again.
func (l *look) settle(s *v1alpha1.Schedule, result v1alpha1.ActionResult, message string) {
	pending := s.Status.Pending
	record(s, v1alpha1.ScheduleAction{
		PlannedTime: pending.PlannedTime, ActualTime: metav1.NewMicroTime(l.Now()), ID: pending.ID,
		Result: result, Attempts: pending.Attempts, Message: cut(message),
	})
	if handled := s.Status.LastHandledTime; handled.Time.Before(pending.PlannedTime.Time) {
		s.Status.LastHandledTime = pending.PlannedTime.DeepCopy()
	}
	s.Status.Pending = nil
}

func record(s *v1alpha1.Schedule, action v1alpha1.ScheduleAction) {
	history := append([]v1alpha1.ScheduleAction{action}, s.Status.LastActions...)
	s.Status.LastActions = history[:min(len(history), maxHistory)]
}

// cut shortens a message that came from outside.
func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	runes := []rune(message[:maxMessage])
	return string(runes[:len(runes)-1]) + "…"
}

// makeEvent is the event of the pending planned time. Everything in it comes from
// the Schedule and that time: another attempt sends the same.
func makeEvent(s *v1alpha1.Schedule) (cloudevents.Event, error) {
	template := s.Spec.Event
	event := cloudevents.New(cloudevents.CloudEventsVersionV1)
	event.SetID(s.Status.Pending.ID)
	event.SetTime(s.Status.Pending.PlannedTime.UTC())
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
