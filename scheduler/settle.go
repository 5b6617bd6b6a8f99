package scheduler

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Outcome is how an attempt ended.
type Outcome struct {
	At time.Time
	// Err is why the sink did not take the event; nil when it did.
	Err error
	// Final says that another attempt cannot help.
	Final bool
}

// maxMessage is how long the message of an action may be, in bytes; less than
// the schema takes.
const maxMessage = 512

// Take puts the outcome of an attempt into the status: the action is settled, or
// tried again later.
func (d Decider) Take(id string, o Outcome) {
	i := slices.IndexFunc(d.status().Active, func(a v1alpha1.ActiveAction) bool { return a.ID == id })
	if i < 0 {
		return
	}
	a := &d.status().Active[i]
	a.Attempts++
	switch {
	case o.Err == nil:
		d.settle(*a, v1alpha1.ActionDelivered, "")
	case o.Final:
		d.settle(*a, v1alpha1.ActionFailed, o.Err.Error())
	default:
		a.Message = cut(o.Err.Error())
		next := metav1.NewMicroTime(o.At.Add(Backoff(a.Attempts)))
		a.NextAttemptTime = &next
	}
}

// settle moves an active action into the history.
func (d Decider) settle(a v1alpha1.ActiveAction, result v1alpha1.ActionResult, message string) {
	d.status().Active = slices.DeleteFunc(slices.Clone(d.status().Active), func(other v1alpha1.ActiveAction) bool { return other.ID == a.ID })
	d.record(v1alpha1.ScheduleAction{
		PlannedTime: a.PlannedTime, ID: a.ID, Request: a.Request, Result: result, Attempts: a.Attempts, Message: message,
	})
	failed := result == v1alpha1.ActionFailed
	switch {
	case a.Request != "":
		if r := request(d.Schedule, a.Request); failed {
			r.Failures++
		}
	case failed:
		d.failed()
	case result == v1alpha1.ActionDelivered:
		d.status().FailedInARow = 0
	}
}

// failed counts failures, and pauses the schedule after so many of them.
func (d Decider) failed() {
	d.status().FailedInARow++
	limit := d.spec().PauseAfterFailures
	if limit == nil || d.status().FailedInARow < *limit || Paused(d.Schedule) {
		return
	}
	d.status().PausedSince = Seconds(d.Now)
	if resumed := d.spec().ResumedFrom; resumed != nil && !resumed.Before(d.status().PausedSince) {
		// Another pause than the one that was ended.
		d.status().PausedSince = Seconds(resumed.Add(time.Second))
	}
}

// record puts an action on top of the history. Skipped times in a row for the
// same reason are one entry.
func (d Decider) record(action v1alpha1.ScheduleAction) {
	action.ActualTime = metav1.NewMicroTime(d.Now.UTC())
	action.Message = cut(action.Message)
	history := d.status().LastActions
	if len(history) > 0 && alike(history[0], action) {
		merged := history[0]
		merged.ID = ""
		merged.ActualTime = action.ActualTime
		merged.Count = min(max(merged.Count, 1)+max(action.Count, 1), MaxCount)
		d.status().LastActions = append([]v1alpha1.ScheduleAction{merged}, history[1:]...)
		return
	}
	history = append([]v1alpha1.ScheduleAction{action}, history...)
	d.status().LastActions = history[:min(len(history), d.spec().History())]
}

func alike(last, next v1alpha1.ScheduleAction) bool {
	skipped := v1alpha1.ActionSkipped
	return last.Result == skipped && next.Result == skipped && last.Message == next.Message && last.PlannedTime.Before(&next.PlannedTime)
}

// cut shortens a message that came from outside.
func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	runes := []rune(message[:maxMessage])
	return string(runes[:len(runes)-1]) + "…"
}

// Settled reports whether the history knows what became of an action.
func Settled(s *v1alpha1.Schedule, id string) bool {
	return slices.ContainsFunc(s.Status.LastActions, func(a v1alpha1.ScheduleAction) bool { return a.ID == id })
}
