package controller

import (
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// mayDefer reports whether nothing but the beginning of actions is new, which
// were begun on time and just now. Nothing is lost with it: the planned times
// stay due until they are handled in the status, and whoever comes next begins
// the same actions with the same ids.
func (l *look) mayDefer(s *v1alpha1.Schedule) bool {
	if len(s.Status.Active) == 0 || len(l.stored.Active) > 0 {
		return false
	}
	for _, a := range s.Status.Active {
		f, flying := l.flying[a.ID]
		late := l.now.Sub(l.Timetable.Due(a.PlannedTime.Time))
		if !flying || a.Request != "" || l.now.Sub(f.begun) >= youth || late >= 2*youth {
			return false
		}
	}
	with := *s.Status.DeepCopy()
	with.Active, with.Actions = l.stored.Active, l.stored.Actions
	with.LastHandledTime, with.NextTime = l.stored.LastHandledTime, l.stored.NextTime
	return equality.Semantic.DeepEqual(with, *l.stored)
}
