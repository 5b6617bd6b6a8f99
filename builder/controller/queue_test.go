package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// waiting is a Build that has waited for the given number of minutes.
func waiting(namespace, name string, age int) v1alpha1.Build {
	b := aBuild(name)
	b.Namespace, b.UID = namespace, types.UID(namespace+"/"+name)
	b.CreationTimestamp = metav1.NewTime(begin.Add(-time.Duration(age) * time.Minute))
	b.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, reasonQueued, ""))
	return *b
}

// rebuild is a Build that nobody waits for.
func rebuild(namespace, name string, age int) v1alpha1.Build {
	b := waiting(namespace, name, age)
	b.Spec.Background = true
	return b
}

// begun is a Build that was begun the given number of minutes ago, and its pod.
func begun(b v1alpha1.Build, ago int) (v1alpha1.Build, corev1.Pod) {
	start := metav1.NewTime(begin.Add(-time.Duration(ago) * time.Minute))
	b.Status.StartTime, b.Status.PodName = &start, incluster.PodName(&b)
	b.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, reasonRunning, ""))
	return b, *incluster.MakePod(&b, incluster.Platform{Resources: incluster.DefaultResources()}, b.Status.PodName)
}

// finished is a Build whose pod has ended.
func finished(b v1alpha1.Build, ago int) v1alpha1.Build {
	b, _ = begun(b, ago)
	b.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
	return b
}

func TestNextIsFairAcrossNamespaces(t *testing.T) {
	many := func(namespace string, n, age int) []v1alpha1.Build {
		var builds []v1alpha1.Build
		for i := range n {
			builds = append(builds, waiting(namespace, fmt.Sprint(i), age-i))
		}
		return builds
	}
	running := func(list ...v1alpha1.Build) (builds []v1alpha1.Build, pods []corev1.Pod) {
		for _, b := range list {
			b, pod := begun(b, 1)
			builds, pods = append(builds, b), append(pods, pod)
		}
		return builds, pods
	}
	aliceRuns, alicePod := running(waiting("alice", "r", 90))
	bobRuns, bobPods := running(waiting("bob", "r1", 90), waiting("bob", "r2", 90))
	bobRebuilds, bobRebuildPod := running(rebuild("bob", "r", 90))
	cases := map[string]struct {
		builds []v1alpha1.Build
		pods   []corev1.Pod
		limits queueLimits
		want   string
		reason string
	}{
		"nobody":            {limits: queueLimits{2, 4}},
		"oldest first":      {builds: many("alice", 3, 50), limits: queueLimits{2, 4}, want: "alice/0 alice/1"},
		"by turns":          {builds: append(many("alice", 9, 500), many("bob", 9, 50)...), limits: queueLimits{2, 4}, want: "alice/0 bob/0 alice/1 bob/1", reason: "many old ones keep nobody out"},
		"fewest run first":  {builds: append(append(many("alice", 9, 500), many("bob", 1, 5)...), aliceRuns...), pods: alicePod, limits: queueLimits{4, 2}, want: "bob/0"},
		"longest unserved":  {builds: append(append(many("alice", 9, 500), many("bob", 1, 5)...), finished(waiting("alice", "f", 900), 1)), limits: queueLimits{4, 1}, want: "bob/0", reason: "alice was served a minute ago"},
		"served long ago":   {builds: append(append(many("alice", 9, 500), many("bob", 1, 5)...), finished(waiting("alice", "f", 900), 20), finished(waiting("bob", "f", 900), 2)), limits: queueLimits{4, 1}, want: "alice/0"},
		"namespace is full": {builds: append(append(many("bob", 3, 500), many("carol", 1, 5)...), bobRuns...), pods: bobPods, limits: queueLimits{2, 9}, want: "carol/0"},
		"cluster is full":   {builds: append(many("carol", 1, 5), bobRuns...), pods: bobPods, limits: queueLimits{2, 2}},
		"waits for a repair": {builds: []v1alpha1.Build{func() v1alpha1.Build {
			b := waiting("alice", "broken", 99)
			b.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, v1alpha1.ReasonPlatformNotFound, ""))
			return b
		}(), waiting("alice", "good", 1)}, limits: queueLimits{1, 1}, want: "alice/good", reason: "it must not keep others back"},
		"rebuilds come last":      {builds: []v1alpha1.Build{rebuild("alice", "old", 99), waiting("alice", "new", 1)}, limits: queueLimits{1, 1}, want: "alice/new"},
		"one rebuild a namespace": {builds: []v1alpha1.Build{rebuild("alice", "1", 9), rebuild("alice", "2", 8), rebuild("bob", "1", 7)}, limits: queueLimits{4, 9}, want: "alice/1 bob/1"},
		"one rebuild runs":        {builds: append([]v1alpha1.Build{rebuild("bob", "2", 9)}, bobRebuilds...), pods: bobRebuildPod, limits: queueLimits{4, 9}},
		"a place is kept":         {builds: []v1alpha1.Build{rebuild("alice", "1", 9), rebuild("bob", "1", 8), rebuild("carol", "1", 7)}, limits: queueLimits{4, 3}, want: "alice/1 bob/1", reason: "for somebody who waits"},
		"the only place":          {builds: []v1alpha1.Build{rebuild("alice", "1", 9)}, limits: queueLimits{1, 1}, want: "alice/1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, uid := range next(c.builds, c.pods, c.limits) {
				got = append(got, string(uid))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// Two namespaces that always have work get the same number of places, and one
// that comes seldom is next.
func TestTurnsOverTime(t *testing.T) {
	limits := queueLimits{perNamespace: 1, total: 1}
	var builds []v1alpha1.Build
	for i := range 30 {
		builds = append(builds, waiting("alice", fmt.Sprint(i), 1000-i), waiting("bob", fmt.Sprint(i), 500-i))
	}
	served := map[string]int{}
	for round := range 20 {
		if round == 10 {
			builds = append(builds, waiting("carol", "rare", 0))
		}
		turns := next(builds, nil, limits)
		if len(turns) != 1 {
			t.Fatalf("round %d: %v", round, turns)
		}
		for i := range builds {
			if builds[i].UID == turns[0] {
				served[builds[i].Namespace]++
				builds[i] = finished(builds[i], 100-round)
			}
		}
		if round == 10 && served["carol"] != 1 {
			t.Errorf("who comes for the first time waits: %v", served)
		}
	}
	if served["bob"] < 9 || served["alice"] < 9 {
		t.Errorf("places: %v", served)
	}
}

func TestTurn(t *testing.T) {
	pod := func(namespace string, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{v1alpha1.LabelBuildNamespace: namespace}},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	alice, bob := pod("alice", corev1.PodRunning), pod("bob", corev1.PodPending)
	lost, _ := begun(waiting("alice", "me", 0), 1)
	lost.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, reasonRetrying, ""))
	cases := map[string]struct {
		me     v1alpha1.Build
		builds []v1alpha1.Build
		pods   []corev1.Pod
		want   string // a part of the message; "" is a turn
		reason string
	}{
		"empty":                   {},
		"one place left":          {pods: []corev1.Pod{alice, bob, bob, bob}},
		"namespace full":          {pods: []corev1.Pod{alice, alice}, want: `namespace "alice" runs 2`},
		"cluster full":            {pods: []corev1.Pod{bob, bob, bob, bob, bob}, want: "the cluster runs 5"},
		"ended pods":              {pods: []corev1.Pod{pod("alice", corev1.PodFailed), pod("alice", corev1.PodSucceeded)}, reason: "they hold no place"},
		"older first":             {builds: []v1alpha1.Build{waiting("alice", "old", 1)}, pods: []corev1.Pod{alice}, want: "older builds"},
		"older and room for both": {builds: []v1alpha1.Build{waiting("alice", "old", 1)}},
		"younger":                 {builds: []v1alpha1.Build{waiting("alice", "young", -1)}, pods: []corev1.Pod{alice}},
		"rebuild":                 {me: rebuild("alice", "me", 0), builds: []v1alpha1.Build{rebuild("alice", "old", 1)}, want: "one after another"},
		"lost its pod":            {me: lost, reason: "it queues like a new one"},
		"its own pod":             {pods: []corev1.Pod{alice, alice, {ObjectMeta: metav1.ObjectMeta{Name: "mine"}}}, reason: "it was created before a restart"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.me.Name == "" {
				c.me = waiting("alice", "me", 0)
			}
			got := turn(&c.me, "mine", append(c.builds, c.me), c.pods, queueLimits{perNamespace: 2, total: 5})
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q: %s", got, c.want, c.reason)
			}
		})
	}
}
