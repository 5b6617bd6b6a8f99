package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// ready is how it stands with a Schedule.
func (l *look) ready(s *v1alpha1.Schedule) metav1.Condition {
	const ready = v1alpha1.ConditionReady
	_, upcoming := l.Upcoming()
	switch {
	case s.Spec.Suspend:
		return v1alpha1.True(ready, v1alpha1.ReasonSuspended, "suspended: nothing is planned until spec.suspend is false")
	case scheduler.Paused(s):
		return v1alpha1.False(ready, v1alpha1.ReasonPaused, fmt.Sprintf(
			"paused after %d failed actions in a row; see status.lastActions, then go on with `knit schedule resume %s`", s.Status.FailedInARow, s.Name))
	case l.sink.err != nil:
		return l.sink.condition
	case retried(s) != nil:
		a := retried(s)
		return v1alpha1.Unknown(ready, v1alpha1.ReasonDelivering,
			fmt.Sprintf("the event of %s was not taken yet: %s", a.PlannedTime.UTC().Format(time.RFC3339), a.Message))
	case upcoming || len(s.Status.Active) > 0 || s.Status.Buffered != nil:
		return v1alpha1.True(ready, v1alpha1.ReasonReady, "")
	case l.ever(s):
		return v1alpha1.True(ready, v1alpha1.ReasonOver, "all that was planned is over")
	}
	return v1alpha1.False(ready, v1alpha1.ReasonNeverDue, "nothing is ever due; check the days and months in spec.cron, spec.at, startTime and endTime")
}

// ever reports whether anything was planned since the Schedule was made.
func (l *look) ever(s *v1alpha1.Schedule) bool {
	_, planned := l.Timetable.Next(s.CreationTimestamp.Time)
	return planned || s.Status.Actions > 0
}

// retried is an action whose last attempt failed.
func retried(s *v1alpha1.Schedule) *v1alpha1.ActiveAction {
	for i := range s.Status.Active {
		if s.Status.Active[i].Attempts > 0 {
			return &s.Status.Active[i]
		}
	}
	return nil
}
