package daemon

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestMarkStopped(t *testing.T) {
	pod := func(ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
				{Type: corev1.ContainersReady, Status: ready}, {Type: corev1.PodReady, Status: ready},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Ready: ready == corev1.ConditionTrue}},
		}}
	}
	p := pod(corev1.ConditionTrue)
	if !markStopped(p) {
		t.Error("a ready pod was not changed")
	}
	for _, c := range p.Status.Conditions {
		if want := c.Type == corev1.PodScheduled; (c.Status == corev1.ConditionTrue) != want {
			t.Errorf("condition %s is %s", c.Type, c.Status)
		}
	}
	if p.Status.ContainerStatuses[0].Ready {
		t.Error("its container still counts as ready")
	}
	if markStopped(pod(corev1.ConditionFalse)) {
		t.Error("a pod that was not ready was changed")
	}
}
