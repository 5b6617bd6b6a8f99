package graph

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Reasons that the graph itself gives.
const (
	reasonDeleting = "Deleting"
	reasonNoStatus = "NoStatus"
	reasonStale    = "NotObserved"       // The status is about an older generation.
	reasonNotRead  = "NotRead"           // The kind or the namespace was not listed.
	reasonBadSpec  = "SpecNotUnderstood" // Its sink has a form that Knative's has not.
)

// ready is a condition Ready with the generation that it is about; 0 is the
// present one.
type ready struct {
	status, reason string
	observed       int64
}

// health judges a condition; nil when there is none.
func health(object metav1.Object, c *ready) Health {
	switch {
	case object.GetDeletionTimestamp() != nil:
		return Health{State: NotReady, Reason: reasonDeleting}
	case c == nil:
		return Health{State: Unknown, Reason: reasonNoStatus}
	case c.observed != 0 && c.observed != object.GetGeneration():
		return Health{State: Unknown, Reason: reasonStale}
	case c.status == string(metav1.ConditionTrue):
		return Health{State: Ready}
	case c.status == string(metav1.ConditionFalse):
		return Health{State: NotReady, Reason: c.reason}
	}
	return Health{State: Unknown, Reason: c.reason}
}

func knativeHealth(object metav1.Object, status duckv1.Status) Health {
	for _, c := range status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return health(object, &ready{string(c.Status), c.Reason, status.ObservedGeneration})
		}
	}
	return health(object, nil)
}

func knitHealth(object metav1.Object, conditions []metav1.Condition) Health {
	for _, c := range conditions {
		if c.Type == v1alpha1.ConditionReady {
			return health(object, &ready{string(c.Status), c.Reason, c.ObservedGeneration})
		}
	}
	return health(object, nil)
}

// duckHealth reads the status of an object of any kind.
func duckHealth(object *unstructured.Unstructured) Health {
	observed, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, one := range conditions {
		c, _ := one.(map[string]any)
		if c["type"] == v1alpha1.ConditionReady {
			status, _ := c["status"].(string)
			reason, _ := c["reason"].(string)
			return health(object, &ready{status, reason, observed})
		}
	}
	return health(object, nil)
}
