package scheduler

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// MaxActive is how many actions of a timetable are under way at once.
const MaxActive = 10

// Decider brings the status of a Schedule up to a time. It touches nothing else:
// what it begins stands in status.active, and it is for others to do it.
type Decider struct {
	Schedule  *v1alpha1.Schedule
	Timetable Timetable
	Now       time.Time
	// Flying reports whether an attempt of an active action is under way.
	Flying func(id string) bool
}

// Decide records what was missed or skipped, gives up what took too long and
// begins what is due. Called again at the same time it changes nothing more, but
// after a long time away, of which it decides upon a part at a time.
func (d Decider) Decide() {
	d.start()
	d.giveUp()
	d.rest()
	if !d.status().Resting {
		d.clockSetBack()
		d.miss()
		d.due()
	}
	d.requests()
}

func (d Decider) status() *v1alpha1.ScheduleStatus { return &d.Schedule.Status }
func (d Decider) spec() *v1alpha1.ScheduleSpec     { return &d.Schedule.Spec }

// start settles from when on there is something to do: a new Schedule begins
// when it was created, one with another timetable now. Neither plans anything in
// the past.
func (d Decider) start() {
	fingerprint := TimesOf(d.Schedule).Fingerprint()
	if d.status().Timetable == fingerprint && d.status().LastHandledTime != nil {
		return
	}
	begin := d.Schedule.CreationTimestamp.Time
	if d.status().Timetable != "" {
		begin = d.Now
	}
	if waiting := d.status().Buffered; waiting != nil {
		d.record(v1alpha1.ScheduleAction{PlannedTime: *waiting, Result: v1alpha1.ActionSkipped, Message: "the timetable was changed while it waited"})
	}
	d.status().Buffered, d.status().ClockSetBackFrom = nil, nil
	d.status().Timetable = fingerprint
	d.handled(begin)
}

// handled moves on to a time, forward only.
func (d Decider) handled(until time.Time) {
	if last := d.status().LastHandledTime; last == nil || last.Time.Before(until) {
		d.status().LastHandledTime = Seconds(until)
	}
}

// Seconds is a time as the API keeps it: in UTC, without fractions, which are cut
// off and not rounded up into the future.
func Seconds(t time.Time) *metav1.Time {
	v := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &v
}

// giveUp settles active actions that no further attempt is made for.
func (d Decider) giveUp() {
	for _, a := range d.status().Active {
		late := d.Now.After(a.Deadline.Time)
		switch {
		case d.Flying(a.ID):
			// Its attempt is waited for.
		case a.Cancelled != nil:
			d.settle(a, v1alpha1.ActionCancelled, "given up for the one of "+a.Cancelled.UTC().Format(time.RFC3339))
		case a.Request != "" && !d.asked(a.Request):
			d.settle(a, v1alpha1.ActionCancelled, "its request was taken out of spec.requests")
		case a.Request == "" && d.spec().Suspend:
			d.settle(a, v1alpha1.ActionCancelled, "the schedule was suspended before the sink took the event"+because(a))
		case late && a.Attempts == 0:
			d.settle(a, v1alpha1.ActionFailed, "its time is over, and whether it was sent is not known")
		case late:
			d.settle(a, v1alpha1.ActionFailed, "its time is over"+because(a))
		}
	}
}

// because is the error of the last attempt, if there was one.
func because(a v1alpha1.ActiveAction) string {
	if a.Message == "" {
		return ""
	}
	return ": " + a.Message
}

// rest stops and takes up again. What was planned while the schedule rested is
// skipped, and recorded when it goes on.
func (d Decider) rest() {
	why := d.restingFor()
	switch {
	case why == "" && d.status().Resting:
		d.status().Resting = false
		if d.status().PausedSince != nil {
			d.status().PausedSince, d.status().FailedInARow = nil, 0
		}
		d.skipUntil(d.Now, "the schedule was suspended, paused or over")
	case why != "" && !d.status().Resting:
		if why != over {
			d.skipUntil(d.Now, "the schedule is "+why)
		}
		d.status().Resting = true
	}
	if waiting := d.status().Buffered; waiting != nil && why != "" {
		d.record(v1alpha1.ScheduleAction{PlannedTime: *waiting, Result: v1alpha1.ActionSkipped, Message: "the schedule is " + why})
		d.status().Buffered = nil
	}
}

func (d Decider) skipUntil(until time.Time, why string) {
	if skipped := d.Timetable.Between(d.status().LastHandledTime.Time, until); skipped.Count > 0 {
		d.record(v1alpha1.ScheduleAction{PlannedTime: *Seconds(skipped.First), Result: v1alpha1.ActionSkipped, Count: count(skipped.Count), Message: why})
	}
	d.handled(until)
}

// count is left out for one.
func count(n int) int32 {
	if n == 1 {
		return 0
	}
	return int32(n)
}

// over is why nothing is planned once there were enough actions.
const over = "over: spec.maxActions is reached"

// restingFor says why nothing is begun; empty when something is.
func (d Decider) restingFor() string {
	switch {
	case d.spec().Suspend:
		return "suspended"
	case Paused(d.Schedule):
		return "paused"
	case d.spec().MaxActions != nil && d.status().Actions >= *d.spec().MaxActions:
		return over
	}
	return ""
}

// Paused reports whether a Schedule has paused itself and nobody resumed it.
func Paused(s *v1alpha1.Schedule) bool {
	since, resumed := s.Status.PausedSince, s.Spec.ResumedFrom
	return since != nil && (resumed == nil || resumed.Before(since))
}

// clockSetBack begins anew when the clock shows a time so long before what was
// handled already that the schedule would stand still. After a step back within
// the window it waits instead, and nothing happens twice. Should the clock come
// back to what was handled before, because it was wrong meanwhile, that is
// handled again.
func (d Decider) clockSetBack() {
	window := d.spec().Window()
	if before := d.status().ClockSetBackFrom; before != nil && before.Sub(d.Now) <= window {
		d.handled(before.Time)
		d.status().ClockSetBackFrom = nil
	}
	if last := d.status().LastHandledTime; last.Sub(d.Now) > window {
		d.status().ClockSetBackFrom = last
		d.status().LastHandledTime = Seconds(d.Now)
	}
}

// miss records what is too late to be begun.
func (d Decider) miss() {
	window := d.spec().Window()
	horizon := d.Now.Add(-window)
	message := fmt.Sprintf("nothing began it within the catch-up window of %s", window)
	if waiting := d.status().Buffered; waiting != nil && waiting.Time.Before(horizon) {
		d.record(v1alpha1.ScheduleAction{PlannedTime: *waiting, Result: v1alpha1.ActionMissed, Message: message})
		d.status().Buffered = nil
	}
	// A time at the horizon itself can still happen.
	horizon = horizon.Add(-time.Nanosecond)
	for d.status().LastHandledTime.Time.Before(horizon) {
		missed := d.Timetable.Between(d.status().LastHandledTime.Time, horizon)
		if missed.Count == 0 {
			return
		}
		d.record(v1alpha1.ScheduleAction{PlannedTime: *Seconds(missed.First), Result: v1alpha1.ActionMissed, Count: count(missed.Count), Message: message})
		if missed.Count == MaxCount {
			missed.Last = horizon.Add(-d.Timetable.jitter)
		}
		d.handled(missed.Last)
	}
}

// begin makes a planned time an active action.
func (d Decider) begin(planned time.Time, request string) {
	a := v1alpha1.ActiveAction{
		PlannedTime: *Seconds(planned), ID: EventID(string(d.Schedule.UID), planned, request), Request: request,
		Deadline: *Seconds(d.Now.Add(d.spec().Window())),
	}
	if request == "" {
		a.Deadline = *Seconds(d.Timetable.Due(planned).Add(d.spec().Window()))
	}
	Adopt(d.Schedule, a)
}

// Adopt puts an action that was begun into the status, unless it is there.
func Adopt(s *v1alpha1.Schedule, a v1alpha1.ActiveAction) {
	for _, known := range s.Status.Active {
		if known.ID == a.ID {
			return
		}
	}
	s.Status.Active = append(s.Status.Active, a)
	if a.Request != "" {
		r := request(s, a.Request)
		r.HandledTime = a.PlannedTime.DeepCopy()
		r.Actions++
		return
	}
	s.Status.Actions++
	if waiting := s.Status.Buffered; waiting != nil && waiting.Equal(&a.PlannedTime) {
		s.Status.Buffered = nil
		return
	}
	if last := s.Status.LastHandledTime; last == nil || last.Before(&a.PlannedTime) {
		s.Status.LastHandledTime = a.PlannedTime.DeepCopy()
	}
}

// Upcoming is when the next planned time is due; false when there is none, or
// nothing is begun at present.
func (d Decider) Upcoming() (time.Time, bool) {
	if d.status().Resting || d.status().LastHandledTime == nil {
		return time.Time{}, false
	}
	after := d.status().LastHandledTime.Time
	for {
		planned, ok := d.Timetable.Next(after)
		if !ok {
			return time.Time{}, false
		}
		if due := d.Timetable.Due(planned); due.After(d.Now) {
			return due, true
		}
		// It waits for its turn; what is asked for comes after now.
		after = later(planned, d.Now.Add(-d.Timetable.jitter-time.Second))
	}
}

// waiting reports whether a planned time is due and not decided upon.
func (d Decider) waiting() bool {
	if d.status().Resting || d.status().LastHandledTime == nil {
		return false
	}
	planned, ok := d.Timetable.Next(d.status().LastHandledTime.Time)
	return ok && !d.Timetable.Due(planned).After(d.Now)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Wake is when there is something to decide next, without news from outside;
// false when there is nothing.
func (d Decider) Wake() (time.Time, bool) {
	var first time.Time
	at := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	if due, ok := d.Upcoming(); ok {
		at(due)
	}
	if d.waiting() && !d.mustWait() {
		at(d.Now)
	}
	for _, a := range d.status().Active {
		switch {
		case d.Flying(a.ID):
		case a.NextAttemptTime != nil:
			at(a.NextAttemptTime.Time)
		default:
			at(d.Now)
		}
	}
	for _, r := range d.spec().Requests {
		if r.At != nil && r.At.After(d.Now) {
			at(r.At.Time)
		}
	}
	return first, !first.IsZero()
}
