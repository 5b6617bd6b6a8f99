package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	buildphase "github.com/knit-dev/knit/builder/phase"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// observePhases returns the phases with state and times of the pod's
// containers. The times are those of the kubelet, in whole seconds; a container
// with two phases tells theirs when it has succeeded.
func observePhases(phases []v1alpha1.BuildPhase, pod *corev1.Pod) []v1alpha1.BuildPhase {
	phases = slices.Clone(phases)
	for i := range phases {
		status := containerStatus(pod, phases[i].Name.Container())
		if status == nil {
			continue
		}
		first := i == 0 || phases[i-1].Name.Container() != phases[i].Name.Container()
		last := i == len(phases)-1 || phases[i+1].Name.Container() != phases[i].Name.Container()
		observePhase(&phases[i], status.State, first, last)
	}
	return phases
}

// observePhase carries a container's state into one of its phases. Which of two
// it is at shows when it ends; until then it is the first.
func observePhase(phase *v1alpha1.BuildPhase, state corev1.ContainerState, first, last bool) {
	switch {
	case state.Running != nil && first:
		phase.State = v1alpha1.PhaseRunning
		phase.StartTime = micro(state.Running.StartedAt)
	case state.Terminated != nil:
		end := state.Terminated
		failed := failedIn(phase.Name.Container(), end.ExitCode)
		if failed != "" && failed != phase.Name && !first {
			return // it never began
		}
		phase.State = v1alpha1.PhaseSucceeded
		if failed == phase.Name {
			phase.State = v1alpha1.PhaseFailed
		}
		phase.StartTime, phase.FinishTime = micro(end.StartedAt), micro(end.FinishedAt)
		if first && last {
			return
		}
		for _, t := range buildphase.ParseTimes(end.Message, end.StartedAt.Time, end.FinishedAt.Time) {
			if t.Phase == string(phase.Name) {
				phase.StartTime, phase.FinishTime = &metav1.MicroTime{Time: t.Start}, &metav1.MicroTime{Time: t.End}
			}
		}
	}
}

// failedIn is the phase of a container that failed by its exit code, "" when
// none did. Only the codes of detect and restore tell them from the phase that
// gives the container its name.
func failedIn(container v1alpha1.PhaseName, code int32) v1alpha1.PhaseName {
	switch {
	case code == 0:
		return ""
	case container == v1alpha1.PhaseBuild && code == buildphase.ExitDetect:
		return v1alpha1.PhaseDetect
	case container == v1alpha1.PhaseAnalyze && code == buildphase.ExitRestore:
		return v1alpha1.PhaseRestore
	}
	return container
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
