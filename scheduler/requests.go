package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// MaxBackfill is how many planned times one request may ask for.
const MaxBackfill = 10_000

// clockSkew is by how much the clock of who asks may be fast.
const clockSkew = 10 * time.Second

// requests goes on with what was asked for beside the timetable. Of each request
// one action is under way at a time.
func (d Decider) requests() {
	d.status().Requests = slices.DeleteFunc(slices.Clone(d.status().Requests), func(r v1alpha1.RequestStatus) bool { return !d.asked(r.Name) })
	for _, r := range d.spec().Requests {
		status := request(d.Schedule, r.Name)
		if status.Done || slices.ContainsFunc(d.status().Active, func(a v1alpha1.ActiveAction) bool { return a.Request == r.Name }) {
			continue
		}
		if planned, ok := d.wanted(r, status); !ok {
			status.Done = true
			status.CompletionTime = Seconds(d.Now)
		} else if !planned.After(d.Now) {
			d.begin(planned, r.Name)
		}
	}
}

// wanted is the next planned time of a request; false when there is none.
func (d Decider) wanted(r v1alpha1.ScheduleRequest, status *v1alpha1.RequestStatus) (time.Time, bool) {
	if r.At != nil {
		return r.At.Time, status.HandledTime == nil
	}
	after := r.From.Add(-time.Nanosecond)
	if status.HandledTime != nil {
		after = status.HandledTime.Time
	} else if why := d.tooMuch(r); why != "" {
		status.Message = why
		return time.Time{}, false
	}
	planned, ok := d.Timetable.Next(after)
	return planned, ok && !planned.After(r.To.Time)
}

// tooMuch says why a request for the times of the past is refused.
func (d Decider) tooMuch(r v1alpha1.ScheduleRequest) string {
	if r.To.Sub(d.Now) > clockSkew {
		return fmt.Sprintf("to: %s is not over yet; ask for times that are", r.To.UTC().Format(time.RFC3339))
	}
	at, ok := d.Timetable.Next(r.From.Add(-time.Nanosecond))
	for range MaxBackfill {
		if !ok || at.After(r.To.Time) {
			return ""
		}
		at, ok = d.Timetable.Next(at)
	}
	if !ok || at.After(r.To.Time) {
		return ""
	}
	return fmt.Sprintf("more than %d times are planned from %s to %s; ask for fewer", MaxBackfill, r.From.UTC().Format(time.RFC3339), r.To.UTC().Format(time.RFC3339))
}

// asked reports whether a request is in the spec.
func (d Decider) asked(name string) bool {
	return slices.ContainsFunc(d.spec().Requests, func(r v1alpha1.ScheduleRequest) bool { return r.Name == name })
}

// request is the status of a request, which is made if there is none.
func request(s *v1alpha1.Schedule, name string) *v1alpha1.RequestStatus {
	for i := range s.Status.Requests {
		if s.Status.Requests[i].Name == name {
			return &s.Status.Requests[i]
		}
	}
	s.Status.Requests = append(s.Status.Requests, v1alpha1.RequestStatus{Name: name})
	return &s.Status.Requests[len(s.Status.Requests)-1]
}
