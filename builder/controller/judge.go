package controller

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/knit-dev/knit/builder/incluster"
	buildphase "github.com/knit-dev/knit/builder/phase"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

type verdictKind int

const (
	verdictRunning verdictKind = iota
	verdictSucceeded
	verdictFailed
	verdictLost
)

// verdict is what a pod's status means for its Build.
type verdict struct {
	kind            verdictKind
	phase           v1alpha1.PhaseName // that failed, or is under way; may be empty
	reason, message string
}

// Reasons of the Succeeded condition of a failed Build besides those of
// phases ("FetchFailed", "BuildFailed", …).
const (
	reasonDeadline    = "DeadlineExceeded"
	reasonOutOfMemory = "OutOfMemory"
	reasonDiskFull    = "DiskFull"
	reasonPodLost     = "PodLost"
	reasonRefused     = "Refused"
)

// exitKilled is the exit code of a process that ended by SIGKILL.
const exitKilled = 128 + 9

func reasonOfPhase(phase v1alpha1.PhaseName) string {
	return strings.ToUpper(string(phase[:1])) + string(phase[1:]) + "Failed"
}

// judge reads a pod's status. Of a failed pod, what the platform did to it
// comes before what its containers say: a container that was killed knows no reason.
func judge(pod *corev1.Pod) verdict {
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		return verdict{kind: verdictSucceeded}
	case corev1.PodFailed:
		return judgeFailed(pod)
	}
	// The main container is the last phase. The kubelet says that it ended well
	// about a second before it has cleared the pod away and calls it succeeded.
	for _, main := range pod.Status.ContainerStatuses {
		if end := main.State.Terminated; end != nil && end.ExitCode == 0 && pod.DeletionTimestamp == nil {
			return verdict{kind: verdictSucceeded}
		}
	}
	return judgeRunning(pod)
}

func judgeFailed(pod *corev1.Pod) verdict {
	phase := failedPhase(pod)
	switch {
	case pod.Status.Reason == "DeadlineExceeded":
		return verdict{kind: verdictFailed, phase: phase, reason: reasonDeadline,
			message: fmt.Sprintf("the build did not end within its deadline and was stopped%s; give it more in deadlineSeconds", during(phase))}
	case pod.Status.Reason == "Evicted" && strings.Contains(pod.Status.Message, "exceed"):
		return verdict{kind: verdictFailed, phase: phase, reason: reasonDiskFull,
			message: fmt.Sprintf("the build wrote more than it may%s: %s", during(phase), pod.Status.Message)}
	case pod.DeletionTimestamp != nil:
		return verdict{kind: verdictLost, phase: phase, message: "somebody deleted its pod"}
	case pod.Status.Reason != "" || disrupted(pod):
		return verdict{kind: verdictLost, phase: phase, message: strings.TrimSpace(fmt.Sprintf("the node gave up its pod: %s %s", pod.Status.Reason, pod.Status.Message))}
	case phase == "":
		return verdict{kind: verdictLost, message: "its pod failed and no phase says why"}
	}
	end := containerStatus(pod, phase.Container()).State.Terminated
	if end.Reason == "OOMKilled" {
		return verdict{kind: verdictFailed, phase: phase, reason: reasonOutOfMemory,
			message: fmt.Sprintf("phase %s used more memory than a build may have and was killed", phase)}
	}
	if end.ExitCode == buildphase.ExitRefused && phase.Container() != v1alpha1.PhaseBuild {
		return verdict{kind: verdictFailed, phase: phase, reason: reasonRefused,
			message: fmt.Sprintf("phase %s was not started: what the phases before left is not allowed; a buildpack, or a script that it runs, must change", phase)}
	}
	if end.Reason == "ContainerStatusUnknown" {
		return verdict{kind: verdictLost, phase: phase, message: "the node lost sight of its containers"}
	}
	message := fmt.Sprintf("phase %s failed (exit code %d)", phase, end.ExitCode)
	if end.ExitCode == exitKilled {
		// The runtime does not always learn why the kernel killed a container.
		message = fmt.Sprintf("phase %s was killed (exit code %d), most often for using more memory than a build may have", phase, end.ExitCode)
	}
	return verdict{kind: verdictFailed, phase: phase, reason: reasonOfPhase(phase), message: message}
}

// judgeRunning says what a pod is at, or why it is not.
func judgeRunning(pod *corev1.Pod) verdict {
	for _, phase := range incluster.AllPhases {
		status := containerStatus(pod, phase)
		switch {
		case status == nil || status.State.Terminated != nil:
			continue
		case status.State.Running != nil:
			return verdict{phase: phase, reason: reasonRunning, message: "phase " + string(phase)}
		case status.State.Waiting != nil && stuck(status.State.Waiting.Reason):
			return verdict{phase: phase, reason: reasonWaiting, message: whyWaiting(status)}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return verdict{reason: reasonWaiting, message: "no node takes the build: " + c.Message}
		}
	}
	return verdict{reason: reasonRunning, message: "the build pod was created"}
}

// whyWaiting says the same as long as the cause is the same: the kubelet's own
// words alternate between trying and backing off.
func whyWaiting(status *corev1.ContainerStatus) string {
	waiting := status.State.Waiting
	if waiting.Reason == "ErrImagePull" || waiting.Reason == "ImagePullBackOff" {
		return fmt.Sprintf("phase %s cannot start: its image %s cannot be pulled; check the platform settings and the registry", status.Name, status.Image)
	}
	return strings.TrimSpace(fmt.Sprintf("phase %s cannot start: %s: %s", status.Name, waiting.Reason, waiting.Message))
}

// stuck tells waiting that somebody should look at from the usual waiting.
func stuck(reason string) bool {
	return reason != "" && reason != "PodInitializing" && reason != "ContainerCreating"
}

func failedPhase(pod *corev1.Pod) v1alpha1.PhaseName {
	for _, phase := range incluster.AllPhases {
		if status := containerStatus(pod, phase); status != nil && status.State.Terminated != nil && status.State.Terminated.ExitCode != 0 {
			return failedIn(phase, status.State.Terminated.ExitCode)
		}
	}
	return ""
}

func disrupted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func during(phase v1alpha1.PhaseName) string {
	if phase == "" {
		return ""
	}
	return " in phase " + string(phase)
}
