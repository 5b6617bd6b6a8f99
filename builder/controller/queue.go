package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// queueLimits say how many builds run at once.
type queueLimits struct{ perNamespace, total int }

// background is how many places those may take for which nobody waits: all but
// one, so that a person never waits for a rebuild of everything.
func (l queueLimits) background() int { return max(1, l.total-1) }

// lane is the queue of one namespace.
type lane struct {
	namespace  string
	running    int
	background int       // of those, for which nobody waits
	served     time.Time // when a build of the namespace last began
	waiting    []*v1alpha1.Build
}

// next are the Builds that may start now, in their order. Namespaces take turns:
// the one that runs the fewest comes first, then the one that was served the
// longest ago. Within a namespace the oldest comes first. Background builds come
// after all others, and one after another in a namespace.
func next(builds []v1alpha1.Build, pods []corev1.Pod, limits queueLimits) []types.UID {
	lanes, total, background := makeLanes(builds, pods)
	var turns []types.UID
	for total < limits.total {
		lane, i := choose(lanes, limits, background)
		if lane == nil {
			break
		}
		build := lane.waiting[i]
		turns = append(turns, build.UID)
		lane.waiting = slices.Delete(lane.waiting, i, i+1)
		lane.running++
		total++
		if build.Spec.Background {
			lane.background++
			background++
		}
	}
	return turns
}

func makeLanes(builds []v1alpha1.Build, pods []corev1.Pod) (lanes []*lane, total, background int) {
	byNamespace := map[string]*lane{}
	of := func(namespace string) *lane {
		if byNamespace[namespace] == nil {
			byNamespace[namespace] = &lane{namespace: namespace}
			lanes = append(lanes, byNamespace[namespace])
		}
		return byNamespace[namespace]
	}
	running := map[types.NamespacedName]bool{}
	for i := range pods {
		if podEnded(&pods[i]) {
			continue
		}
		total++
		of(pods[i].Labels[v1alpha1.LabelBuildNamespace]).running++
		if namespace, name, ok := incluster.BuildOf(&pods[i]); ok {
			running[types.NamespacedName{Namespace: namespace, Name: name}] = true
		}
	}
	for i := range builds {
		b := &builds[i]
		lane := of(b.Namespace)
		if b.Status.StartTime != nil && b.Status.StartTime.After(lane.served) {
			lane.served = b.Status.StartTime.Time
		}
		switch {
		case running[types.NamespacedName{Namespace: b.Namespace, Name: b.Name}]:
			if b.Spec.Background {
				lane.background++
				background++
			}
		case waits(b):
			lane.waiting = append(lane.waiting, b)
		}
	}
	for _, lane := range lanes {
		slices.SortFunc(lane.waiting, older)
	}
	return lanes, total, background
}

// choose returns the lane whose turn it is and the Build in it, or nil.
func choose(lanes []*lane, limits queueLimits, background int) (best *lane, at int) {
	for _, kind := range []bool{false, true} {
		if kind && background >= limits.background() {
			break
		}
		for _, l := range lanes {
			i := slices.IndexFunc(l.waiting, func(b *v1alpha1.Build) bool { return b.Spec.Background == kind })
			if i < 0 || l.running >= limits.perNamespace || kind && l.background > 0 {
				continue
			}
			if best == nil || before(l, i, best, at) {
				best, at = l, i
			}
		}
		if best != nil {
			break
		}
	}
	return best, at
}

func before(a *lane, i int, b *lane, j int) bool {
	return cmp.Or(
		cmp.Compare(a.running, b.running),
		a.served.Compare(b.served),
		older(a.waiting[i], b.waiting[j]),
		cmp.Compare(a.namespace, b.namespace),
	) < 0
}

// turn decides whether a Build may start now: it returns why not, or "".
// builds and pods are those of all namespaces.
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
	// The list may be older than what this pass knows of its Build.
	builds = slices.DeleteFunc(slices.Clone(builds), func(b v1alpha1.Build) bool { return b.UID == build.UID })
	queued := build.DeepCopy()
	queued.Status.PodName = "" // A build whose pod was lost queues again.
	if !waits(queued) {
		queued.Status.Conditions = nil
	}
	turns := next(append(builds, *queued), pods, limits)
	switch {
	case slices.Contains(turns, build.UID):
		return ""
	case here >= limits.perNamespace:
		return fmt.Sprintf("waits for its turn: namespace %q runs %d builds at once, at most", build.Namespace, limits.perNamespace)
	case all >= limits.total:
		return fmt.Sprintf("waits for its turn: the cluster runs %d builds at once, at most", limits.total)
	case build.Spec.Background:
		return "waits for its turn: rebuilds run one after another, after the builds that somebody waits for"
	}
	return "waits for its turn: older builds of the namespace, or those of other namespaces, come first"
}

// waits reports whether a Build is in the queue and could leave it: one that
// waits for a repair of the platform keeps nobody back.
func waits(b *v1alpha1.Build) bool {
	ended, _ := b.Done()
	reason := reasonOf(b)
	return !ended && b.DeletionTimestamp.IsZero() && b.Status.PodName == "" && (reason == "" || reason == reasonQueued)
}

// older orders by age, and by name within a second.
func older(a, b *v1alpha1.Build) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
