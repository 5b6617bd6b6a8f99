package scheduler

import (
	"fmt"
	"time"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// maxDecisions is how many planned times are decided upon at once; after a long
// time away a line for every second has a week of them.
const maxDecisions = 1000

// due acts on the planned times of the timetable that are due, one after the
// other, until there is none or the next has to wait.
func (d Decider) due() {
	if waiting := d.status().Buffered; waiting != nil && d.underWay() == 0 {
		d.begin(waiting.Time, "")
	}
	for range maxDecisions {
		if d.restingFor() != "" {
			// The last action was begun just now.
			d.rest()
			return
		}
		planned, ok := d.Timetable.Next(d.status().LastHandledTime.Time)
		if !ok || d.Timetable.Due(planned).After(d.Now) || !d.place(planned) {
			return
		}
	}
}

// place decides upon one planned time. It is false when that has to wait, for
// which nothing is written down: it is planned until it is handled.
func (d Decider) place(planned time.Time) bool {
	n := d.underWay()
	switch policy := d.spec().Overlaps(); policy {
	case v1alpha1.OverlapSkip:
		if n > 0 {
			d.skip(planned, "an earlier one was under way")
			return true
		}
	case v1alpha1.OverlapBufferOne:
		switch {
		case d.status().Buffered != nil:
			d.skip(planned, "an earlier one was waiting already")
			return true
		case n > 0:
			d.status().Buffered = Seconds(planned)
			d.handled(planned)
			return true
		}
	case v1alpha1.OverlapCancelOther, v1alpha1.OverlapTerminateOther:
		if later, ok := d.Timetable.Next(planned); ok && !d.Timetable.Due(later).After(d.Now) {
			d.skip(planned, "a later one was due as well")
			return true
		}
		if d.cancel(planned); d.underWay() > 0 {
			return false
		}
	default:
		if d.mustWait() {
			return false
		}
	}
	d.begin(planned, "")
	return true
}

// mustWait reports whether a planned time cannot be decided upon, by the overlap
// policy, before something that is under way has ended.
func (d Decider) mustWait() bool {
	switch d.spec().Overlaps() {
	case v1alpha1.OverlapSkip, v1alpha1.OverlapBufferOne:
		return false
	case v1alpha1.OverlapAllowAll:
		return d.underWay() >= MaxActive
	}
	return d.underWay() > 0
}

// underWay is how many actions of the timetable are not settled.
func (d Decider) underWay() int {
	n := 0
	for _, a := range d.status().Active {
		if a.Request == "" {
			n++
		}
	}
	return n
}

// cancel gives up what is under way for a later planned time.
func (d Decider) cancel(planned time.Time) {
	for i := range d.status().Active {
		if a := &d.status().Active[i]; a.Request == "" && a.Cancelled == nil {
			a.Cancelled = Seconds(planned)
		}
	}
	d.giveUp()
}

// skip records a planned time that is not begun.
func (d Decider) skip(planned time.Time, why string) {
	d.record(v1alpha1.ScheduleAction{
		PlannedTime: *Seconds(planned), ID: EventID(string(d.Schedule.UID), planned, ""), Result: v1alpha1.ActionSkipped,
		Message: fmt.Sprintf("%s (spec.overlap: %s)", why, d.spec().Overlaps()),
	})
	d.handled(planned)
}
