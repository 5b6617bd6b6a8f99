package controller

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// queueLimits say how many builds run at once.
type queueLimits struct{ perNamespace, total int }

// turn decides whether a Build may start now: it returns why not, or "".
// builds are those of its namespace, pods are all build pods. Within a
// namespace the oldest comes first; a namespace's limit keeps places for others.
func turn(build *v1alpha1.Build, podName string, builds []v1alpha1.Build, pods []corev1.Pod, limits queueLimits) string {
	here, all := 0, 0
	for i := range pods {
		pod := &pods[i]
		if pod.Name == podName {
			return "" // Created before a restart: it has its place.
		}
		if podEnded(pod) {
			continue
		}
		all++
		if pod.Labels[v1alpha1.LabelBuildNamespace] == build.Namespace {
			here++
		}
	}
	switch {
	case here >= limits.perNamespace:
		return fmt.Sprintf("waits for its turn: namespace %q runs %d builds at once, at most", build.Namespace, limits.perNamespace)
	case all >= limits.total:
		return fmt.Sprintf("waits for its turn: the cluster runs %d builds at once, at most", limits.total)
	}
	free := min(limits.perNamespace-here, limits.total-all)
	ahead := 0
	for i := range builds {
		if waits(&builds[i]) && older(&builds[i], build) {
			ahead++
		}
	}
	if ahead >= free {
		return "waits for its turn: older builds of the namespace come first"
	}
	return ""
}

// waits reports whether a Build is in the queue and could leave it: one that
// waits for a repair of the platform keeps nobody back.
func waits(b *v1alpha1.Build) bool {
	ended, _ := b.Done()
	reason := reasonOf(b)
	return !ended && b.DeletionTimestamp.IsZero() && b.Status.PodName == "" && (reason == "" || reason == reasonQueued)
}

func older(a, b *v1alpha1.Build) bool {
	if a.UID == b.UID {
		return false
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}
