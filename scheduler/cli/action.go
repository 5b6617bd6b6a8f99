package cli

import (
	"fmt"
	"time"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// plannedText is the planned time of an action, or of several that are recorded
// together.
func plannedText(a v1alpha1.ScheduleAction) string {
	at := utc(&a.PlannedTime)
	switch {
	case a.Count >= scheduler.MaxCount:
		return fmt.Sprintf("%d or more times from %s", a.Count, at)
	case a.Count > 1:
		return fmt.Sprintf("%d times from %s", a.Count, at)
	}
	return at
}

// delayText is how long after its planned time an action was settled. It means
// nothing for several.
func delayText(a v1alpha1.ScheduleAction) string {
	if a.Count > 1 {
		return ""
	}
	return "+" + a.ActualTime.Sub(a.PlannedTime.Time).Round(time.Millisecond).String()
}

// requestStatus is how far a request is; nil when the scheduler has not seen it.
func requestStatus(s *v1alpha1.Schedule, name string) *v1alpha1.RequestStatus {
	for i := range s.Status.Requests {
		if s.Status.Requests[i].Name == name {
			return &s.Status.Requests[i]
		}
	}
	return nil
}

// progressText is how far a request is.
func progressText(r *v1alpha1.RequestStatus) string {
	if r == nil {
		return "not begun"
	}
	text := "under way"
	if r.Done {
		text = "done"
	}
	if r.Actions > 0 {
		text += fmt.Sprintf(", actions: %d", r.Actions)
	}
	if r.Failures > 0 {
		text += fmt.Sprintf(", failed: %d", r.Failures)
	}
	if r.HandledTime != nil && !r.Done {
		text += ", up to " + utc(r.HandledTime)
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}
