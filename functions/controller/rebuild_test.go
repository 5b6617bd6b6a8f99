package controller

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// set changes settings of the platform.
func (w *world) set(settings map[string]string) {
	w.t.Helper()
	var cm corev1.ConfigMap
	w.must(w.Get(w.t.Context(), client.ObjectKeyFromObject(platform()), &cm))
	for key, value := range settings {
		cm.Data[key] = value
	}
	w.must(w.Update(w.t.Context(), &cm))
}

// builds are all Builds by name.
func (w *world) builds() map[string]v1alpha1.Build {
	w.t.Helper()
	var list v1alpha1.BuildList
	w.must(w.List(w.t.Context(), &list))
	byName := map[string]v1alpha1.Build{}
	for _, b := range list.Items {
		byName[b.Name] = b
	}
	return byName
}

// look is one look of the controller, while nobody builds.
func (w *world) look() *v1alpha1.Function {
	w.t.Helper()
	_, _, err := w.reconcile(reconciletest.Crash{})
	w.must(err)
	return w.function()
}

const (
	newBuilder = "r:5000/builder@" + digestB
	oldBase    = "r:5000/knit/run-static@" + digestA
	newBase    = "r:5000/knit/run-static@" + digestB
)

func TestANewBuilderRebuildsInTheBackground(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	first := w.function().Status.BuildRef
	w.set(map[string]string{"builder-image": newBuilder})
	fn := w.look()
	built := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionBuilt)
	if !fn.Holds("Ready") || built.Reason != v1alpha1.ReasonRebuilding || fn.Status.BuildRef != first || fn.Status.Decision.Reason != "the builder changed" {
		t.Errorf("while it is rebuilt: %s, %+v, decision %+v", condition(fn, "Ready"), built, fn.Status.Decision)
	}
	background := 0
	for _, b := range w.builds() {
		if b.Spec.Background {
			background++
			if b.Spec.BuilderImage != newBuilder {
				t.Errorf("builder %q", b.Spec.BuilderImage)
			}
		}
	}
	if background != 1 {
		t.Errorf("%d rebuilds, want 1", background)
	}
	w.settle()
	if fn := w.function(); !fn.Holds("Ready") || fn.Status.BuildRef == first || fn.Status.Decision.Result != v1alpha1.DecisionReuse {
		t.Errorf("after it: %s, build %s", condition(fn, "Ready"), fn.Status.BuildRef)
	}
}

func TestAFailedRebuildTakesNothingAway(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	first := w.function().Status.Image
	w.buildFails = true
	w.set(map[string]string{"builder-image": newBuilder})
	w.settle()
	fn := w.function()
	built := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionBuilt)
	if !fn.Holds("Ready") || built.Reason != v1alpha1.ReasonRebuildFailed || !strings.Contains(built.Message, "undefined: x") || fn.Status.Image != first {
		t.Errorf("%s, %+v, image %s", condition(fn, "Ready"), built, fn.Status.Image)
	}
	if len(w.builds()) != 2 {
		t.Errorf("%d builds, want 2: a failure must not be repeated", len(w.builds()))
	}
}

func TestRebuildingCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	w.set(map[string]string{"builder-image": newBuilder, "rebuild-on-new-builder": "false"})
	w.settle()
	if fn := w.function(); !fn.Holds("Ready") || len(w.builds()) != 1 || !strings.Contains(fn.Status.Decision.Reason, "rebuild-on-new-builder is off") {
		t.Errorf("%d builds, decision %+v", len(w.builds()), fn.Status.Decision)
	}
	// Other source is built by the new builder all the same.
	w.change(withSource(digestB))
	w.settle()
	if b := w.builds()[w.function().Status.BuildRef]; b.Spec.BuilderImage != newBuilder || b.Spec.Background {
		t.Errorf("spec %+v", b.Spec)
	}
}

func TestANewBaseRebases(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	first := w.builds()[w.function().Status.BuildRef]
	first.Status.RunImage = oldBase
	w.must(w.Status().Update(t.Context(), &first))
	w.set(map[string]string{"run-images": "r:5000/knit/run-node@" + digestA + "\n" + newBase})
	fn := w.look()
	if d := fn.Status.Decision; d.Result != v1alpha1.DecisionRebase || !fn.Holds("Ready") {
		t.Errorf("decision %+v, Ready %s", d, condition(fn, "Ready"))
	}
	var rebase v1alpha1.Build
	for _, b := range w.builds() {
		if b.Spec.Rebase != nil {
			rebase = b
		}
	}
	if r := rebase.Spec.Rebase; r == nil || r.RunImage != newBase || !strings.HasSuffix(first.Status.Image, "@"+r.Digest) || !rebase.Spec.Background {
		t.Fatalf("spec %+v", rebase.Spec)
	}
	rebase.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
	rebase.CreationTimestamp = metav1.Now()
	w.must(w.Update(t.Context(), &rebase))
	rebase.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
	rebase.Status.Image, rebase.Status.RunImage = "r:5000/shop/hello@"+digestB, newBase
	w.must(w.Status().Update(t.Context(), &rebase))
	w.settle()
	if fn := w.function(); fn.Status.BuildRef != rebase.Name || fn.Status.Decision.Result != v1alpha1.DecisionReuse || len(w.builds()) != 2 {
		t.Errorf("build %s, decision %+v, %d builds", fn.Status.BuildRef, fn.Status.Decision, len(w.builds()))
	}
}

func TestABuildThatAPersonMadeIsTakenUp(t *testing.T) {
	b := &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "by-hand"},
		Spec:       v1alpha1.BuildSpec{Function: "hello", Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: digestA}}, BuilderImage: "r:5000/builder@" + digestA},
	}
	w := newWorld(t, function(), platform(), b)
	w.others()
	w.settle()
	made := w.builds()["by-hand"]
	if fn := w.function(); !fn.Holds("Ready") || fn.Status.BuildRef != "by-hand" || len(w.builds()) != 1 || !metav1.IsControlledBy(&made, fn) {
		t.Errorf("Ready %s, build %s of %d, owners %v", condition(fn, "Ready"), fn.Status.BuildRef, len(w.builds()), made.OwnerReferences)
	}
}

func TestWrongSettingsTakeNothingAway(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	w.set(map[string]string{"keep-builds": "many"})
	w.settle()
	if fn := w.function(); !fn.Holds("Ready") {
		t.Errorf("Ready is %s", condition(fn, "Ready"))
	}
	w.change(withSource(digestB))
	w.settle()
	ready := meta.FindStatusCondition(w.function().Status.Conditions, "Ready")
	if ready.Reason != v1alpha1.ReasonPlatformInvalid || !strings.Contains(ready.Message, "keep-builds") {
		t.Errorf("a new source: %+v", ready)
	}
}
