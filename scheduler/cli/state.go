package cli

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// state is the Ready condition in a word, or why nothing is planned.
func state(s *v1alpha1.Schedule) string {
	ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	current := ready != nil && ready.ObservedGeneration == s.Generation
	switch {
	case s.Spec.Suspend:
		return v1alpha1.ReasonSuspended
	case scheduler.Paused(s):
		return v1alpha1.ReasonPaused
	case used(s) || current && ready.Reason == v1alpha1.ReasonOver:
		return v1alpha1.ReasonOver
	case !current:
		return string(metav1.ConditionUnknown)
	}
	return string(ready.Status)
}

// used tells whether the schedule has had all the actions that it may have.
func used(s *v1alpha1.Schedule) bool {
	return s.Spec.MaxActions != nil && s.Status.Actions >= *s.Spec.MaxActions
}
