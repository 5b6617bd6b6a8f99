package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// fault is why a revision does not start: a reason that stays the same while
// the cause does, the cause, and what a person can do. told are the last words
// of the program, if it had any.
type fault struct{ reason, cause, next, told string }

// about is what is shown; it begins with the revision, which wasSaid reads.
func (f fault) about(revision string) string {
	message := revisionPrefix(revision) + f.cause + "; " + f.next
	if last := lastLines(f.told); last != "" {
		message += "\n" + last
	}
	return message
}

func revisionPrefix(revision string) string { return "revision " + revision + ": " }

// subject is what a fault is about.
type subject struct {
	function string
	image    string
	listen   time.Duration // how long a container may take until it listens
}

// Knative's reasons of a Revision that is not ready, besides those of the
// kubelet, which it passes on.
const (
	failedCreate   = "FailedCreate"
	exitCode       = "ExitCode"
	containerFails = "Container failed with: "
)

// judgeRevision reads from a Revision why it is not ready; nil when Knative does
// not know, or only that time is over.
func (s subject) judgeRevision(revision *servingv1.Revision) *fault {
	ready := revision.Status.GetCondition(apis.ConditionReady)
	if !ready.IsFalse() {
		return nil
	}
	switch {
	case ready.Reason == servingv1.ReasonContainerMissing:
		return s.unpulled(ready.Message)
	case ready.Reason == failedCreate:
		return s.refused(ready.Message)
	case ready.Reason == corev1.PodReasonUnschedulable:
		return s.unscheduled(ready.Message)
	case strings.HasPrefix(ready.Reason, exitCode):
		return s.ended(strings.TrimPrefix(ready.Reason, exitCode), "", strings.TrimPrefix(ready.Message, containerFails))
	}
	return s.waits(ready.Reason, ready.Message)
}

// judgePod reads from a pod why it is not ready; nil when it may be still.
func (s subject) judgePod(pod *corev1.Pod, now time.Time) *fault {
	for _, c := range pod.Status.Conditions {
		unscheduled := c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
		if unscheduled && now.Sub(c.LastTransitionTime.Time) >= noRoom {
			return s.unscheduled(c.Message)
		}
	}
	// The container alone is no measure: the proxy beside it asks whether it listens.
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.Name == containerName && !isReady(pod) {
			return s.judgeContainer(status, now)
		}
	}
	return nil
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (s subject) judgeContainer(status *corev1.ContainerStatus, now time.Time) *fault {
	if waiting := status.State.Waiting; waiting != nil {
		if f := s.waits(waiting.Reason, waiting.Message); f != nil {
			return f
		}
	}
	ends, last := status.RestartCount, status.LastTerminationState.Terminated
	if now := status.State.Terminated; now != nil {
		ends, last = ends+1, now
	}
	// One that ended once may only have come before what it needs.
	if last != nil && ends > 1 {
		return s.ended(fmt.Sprint(last.ExitCode), last.Reason, last.Message)
	}
	if running := status.State.Running; running != nil && now.Sub(running.StartedAt.Time) > s.listen {
		return &fault{reason: v1alpha1.ReasonNotListening,
			cause: fmt.Sprintf("its container runs, but nothing listens on the port in $PORT (8080) within %v", s.listen),
			next:  fmt.Sprintf("listen on it on all addresses, or allow more time in spec.startTimeout; see `knit logs %s`", s.function)}
	}
	return nil
}

// noRoom is how long a pod may wait for a node before that is a fault: those
// that are on their way out make room for it.
const noRoom = 5 * time.Second

// transient are words of the kubelet about what it expects to go by itself.
const transient = "failed to sync"

// waits judges the reason for which a container waits to be run.
func (s subject) waits(reason, message string) *fault {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return s.unpulled(message)
	case "CreateContainerConfigError":
		if strings.Contains(message, transient) {
			return nil
		}
		return &fault{reason: v1alpha1.ReasonReferenceInvalid, cause: "what its container refers to cannot be used: " + message,
			next: "correct the Secret or ConfigMap, or the reference in spec.env, spec.envFrom or spec.volumes"}
	case "CreateContainerError", "RunContainerError":
		return s.cannotRun(message)
	}
	return nil
}

// ended judges a container that ended when it should have begun to listen.
func (s subject) ended(code, reason, message string) *fault {
	switch {
	case reason == "OOMKilled":
		return &fault{reason: v1alpha1.ReasonOutOfMemory, cause: "its container used more memory than its limit before it listened",
			next: "raise spec.resources.limits.memory", told: message}
	case reason == "StartError" || reason == "ContainerCannotRun" || strings.Contains(message, wrongFormat):
		return s.cannotRun(message)
	case code == "0":
		return &fault{reason: v1alpha1.ReasonCrashed, cause: "its container ends at once and without an error",
			next: "go on listening on the port in $PORT; a function is a server", told: message}
	}
	return &fault{reason: v1alpha1.ReasonCrashed, cause: fmt.Sprintf("its container ends at its start with exit code %s", code),
		next: fmt.Sprintf("correct it; see `knit logs %s --previous`", s.function), told: message}
}

// wrongFormat is what the kernel says of a program for another machine.
const wrongFormat = "exec format error"

// noCommand is what containerd says of an image that names no program.
const noCommand = "no command specified"

func (s subject) cannotRun(message string) *fault {
	if strings.Contains(message, noCommand) {
		return &fault{reason: v1alpha1.ReasonImageInvalid, cause: fmt.Sprintf("%s is no image that can be run: it names no program", s.image),
			next: "name another in spec.source.image, or push this one with an entrypoint"}
	}
	if strings.Contains(message, wrongFormat) {
		return &fault{reason: v1alpha1.ReasonImageWrongPlatform, cause: fmt.Sprintf("the program in image %s is not for the machines of this cluster", s.image),
			next: "build the image for them", told: message}
	}
	return &fault{reason: v1alpha1.ReasonCannotRun, cause: fmt.Sprintf("the program in image %s cannot be run", s.image),
		next: "correct the image's entrypoint, or name another image", told: message}
}

func (s subject) unscheduled(message string) *fault {
	return &fault{reason: v1alpha1.ReasonUnschedulable, cause: "no node takes its pod: " + message,
		next: "ask for less in spec.resources, correct spec.nodeSelector or spec.tolerations, or add a node"}
}

// refused judges what the API server said to the pod of a revision.
func (s subject) refused(message string) *fault {
	// Of a pod that is not there the name is no help, and changes with each try.
	if _, cause, found := strings.Cut(message, " is forbidden: "); found {
		message = cause
	}
	if strings.Contains(message, exceededQuota) || strings.Contains(message, "failed quota") {
		return &fault{reason: v1alpha1.ReasonQuotaExceeded, cause: "the namespace's quota allows no pod of it: " + message,
			next: "ask for less in spec.resources, free what others use, or raise the ResourceQuota"}
	}
	return &fault{reason: v1alpha1.ReasonPodRefused, cause: "the API server refuses its pod: " + message,
		next: "correct what is refused; see `kubectl get events`"}
}

// pulls are the causes of an image that cannot be pulled, in the words of
// containerd, of registries and of Go's network; the first that matches counts.
var pulls = []struct {
	words              *regexp.Regexp
	reason, says, next string
}{
	{regexp.MustCompile(`no match for platform|no child with platform|` + wrongFormat), v1alpha1.ReasonImageWrongPlatform,
		"image %s is not for the machines of this cluster", "build the image for them"},
	{regexp.MustCompile(`(?i)connection refused|i/o timeout|no such host|no route to host|unreachable|connection reset|server misbehaving|deadline exceeded|tls: handshake|5\d\d (internal|bad gateway|service|gateway)|too ?many ?requests`), v1alpha1.ReasonRegistryUnavailable,
		"the registry of image %s does not answer as it should", "check the registry; it is tried again by itself"},
	// containerd before 1.7 asks a registry that has not got an image once more,
	// without the certificate authority it was given, and tells of that only.
	{regexp.MustCompile(`(?i)certificate|x509`), v1alpha1.ReasonImagePullFailed,
		"image %s is not in its registry, or the registry's certificate is not trusted", "push it, or correct the name in spec.source.image; if it is there, look at the certificate"},
	{regexp.MustCompile(`(?i)unauthorized|authentication required|authorization failed|denied|forbidden|no basic auth`), v1alpha1.ReasonImageForbidden,
		"the registry gives image %s to nobody without a login that may read it", "add an imagePullSecret to the service account, or correct the name in spec.source.image"},
	{regexp.MustCompile(`(?i)not found|manifest.unknown|name.unknown|does not exist`), v1alpha1.ReasonImageNotFound,
		"image %s is not in its registry", "push it, or correct the name in spec.source.image"},
	{regexp.MustCompile(`(?i)could not parse|couldn't parse|invalid reference|invalidimagename|unsupported|unknown media|mediatype|media type|unmarshal|invalid (character|tar|checksum|config)|failed to extract|apply layer`), v1alpha1.ReasonImageInvalid,
		"%s is no image that can be run", "name another in spec.source.image, or push this one again"},
}

// unpulled judges what was said about an image that cannot be pulled.
func (s subject) unpulled(message string) *fault {
	// While it waits for the next try, the kubelet repeats what the last one met.
	if _, cause, found := strings.Cut(message, "ErrImagePull: "); found {
		message = cause
	}
	for _, p := range pulls {
		if p.words.MatchString(message) {
			return &fault{reason: p.reason, cause: fmt.Sprintf(p.says, s.image) + ": " + message, next: p.next}
		}
	}
	return &fault{reason: v1alpha1.ReasonImagePullFailed, cause: fmt.Sprintf("image %s cannot be pulled: %s", s.image, message),
		next: "check the image and its registry; it is tried again by itself"}
}

// Bounds of what a program's last words add to a condition.
const (
	toldLines = 10
	toldBytes = 1024
)

var control = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]`)

// lastLines are the last words of a program, without what would upset a terminal.
func lastLines(told string) string {
	told = strings.TrimSpace(control.ReplaceAllString(strings.ToValidUTF8(told, "\uFFFD"), ""))
	if told == "" {
		return ""
	}
	if len(told) > toldBytes {
		told = strings.ToValidUTF8(told[len(told)-toldBytes:], "")
	}
	lines := strings.Split(told, "\n")
	lines = lines[max(0, len(lines)-toldLines):]
	return "  " + strings.Join(lines, "\n  ")
}
