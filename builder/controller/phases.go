package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// observePhases returns the phases with state and times of the pod's
// containers. The times are those of the kubelet: whole seconds.
func observePhases(phases []v1alpha1.BuildPhase, pod *corev1.Pod) []v1alpha1.BuildPhase {
	phases = slices.Clone(phases)
	for i := range phases {
		if status := containerStatus(pod, phases[i].Name); status != nil {
			observePhase(&phases[i], status.State)
		}
	}
	return phases
}

func observePhase(phase *v1alpha1.BuildPhase, state corev1.ContainerState) {
	switch {
	case state.Running != nil:
		phase.State = v1alpha1.PhaseRunning
		phase.StartTime = micro(state.Running.StartedAt)
	case state.Terminated != nil:
		phase.State = v1alpha1.PhaseSucceeded
		if state.Terminated.ExitCode != 0 {
			phase.State = v1alpha1.PhaseFailed
		}
		phase.StartTime, phase.FinishTime = micro(state.Terminated.StartedAt), micro(state.Terminated.FinishedAt)
	}
}

// micro keeps unknown times unknown.
func micro(t metav1.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	return &metav1.MicroTime{Time: t.Time}
}

// resetPhases forgets the phases of a lost pod; the queue stays passed.
func resetPhases(phases []v1alpha1.BuildPhase) {
	for i := range phases {
		if phases[i].Name != v1alpha1.PhaseQueue {
			phases[i] = v1alpha1.BuildPhase{Name: phases[i].Name, State: v1alpha1.PhasePending}
		}
	}
}

// failRunning ends the phase that a build was stopped in.
func failRunning(phases []v1alpha1.BuildPhase, now time.Time) {
	for i := range phases {
		if phases[i].State == v1alpha1.PhaseRunning {
			phases[i].State, phases[i].FinishTime = v1alpha1.PhaseFailed, &metav1.MicroTime{Time: now}
		}
	}
}

func containerStatus(pod *corev1.Pod, phase v1alpha1.PhaseName) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == string(phase) {
				return &list[i]
			}
		}
	}
	return nil
}

func terminationMessage(pod *corev1.Pod, phase v1alpha1.PhaseName) string {
	status := containerStatus(pod, phase)
	if status == nil || status.State.Terminated == nil {
		return ""
	}
	return status.State.Terminated.Message
}
