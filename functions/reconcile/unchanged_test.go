package reconcile_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/reconcile"
)

func TestMemoryHolds(t *testing.T) {
	stored := func() *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			UID: "u", Generation: 3, Labels: map[string]string{"a": "1"}, Annotations: map[string]string{"b": "2"},
		}}
	}
	cases := map[string]struct {
		reason string
		wanted reconcile.Digest
		change func(*corev1.Service)
		holds  bool
	}{
		"as it was left": {
			reason: "nothing needs to be written", change: func(*corev1.Service) {}, holds: true,
		},
		"with another status": {
			reason: "the status is not what is applied", holds: true,
			change: func(s *corev1.Service) {
				s.Status.Conditions = []metav1.Condition{{Type: "Ready"}}
				s.ResourceVersion = "9"
			},
		},
		"something else is wanted": {
			reason: "it must be applied", wanted: reconcile.Digest{1}, change: func(*corev1.Service) {},
		},
		"a changed spec":       {reason: "somebody edited it", change: func(s *corev1.Service) { s.Generation++ }},
		"a changed label":      {reason: "labels have no generation", change: func(s *corev1.Service) { s.Labels["a"] = "0" }},
		"a missing annotation": {reason: "annotations have no generation", change: func(s *corev1.Service) { s.Annotations = nil }},
		"another owner": {
			reason: "it must be owned again",
			change: func(s *corev1.Service) { s.OwnerReferences = []metav1.OwnerReference{{Name: "x"}} },
		},
		"another of the same name": {reason: "it was made anew", change: func(s *corev1.Service) { s.UID = "v" }},
		"one that is being deleted": {
			reason: "the next one begins with an apply",
			change: func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
		},
		"none": {reason: "an absent object is not held", change: func(s *corev1.Service) { *s = corev1.Service{} }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := reconcile.NewMemory()
			m.Note(stored(), reconcile.Digest{})
			now := stored()
			c.change(now)
			if got := m.Holds(now, c.wanted); got != c.holds {
				t.Errorf("holds = %t, want %t: %s", got, c.holds, c.reason)
			}
		})
	}
}

func TestWantedTellsObjectsApart(t *testing.T) {
	one := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"x": "1", "y": "2"}}}
	other := one.DeepCopy()
	other.Spec.ClusterIP = "None"
	first, err1 := reconcile.Wanted(one)
	again, err2 := reconcile.Wanted(one.DeepCopy())
	changed, err3 := reconcile.Wanted(other)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	if first != again || first == changed {
		t.Errorf("digests %x, %x and %x: want the first two alike and the third not", first, again, changed)
	}
}
