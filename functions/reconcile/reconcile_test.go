package reconcile_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

func scheme(t *testing.T) *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func function() *v1alpha1.Function {
	return &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "hello", UID: "u1", Generation: 2}}
}

func newClient(t *testing.T, objects ...client.Object) client.WithWatch {
	return reconciletest.Fake(t, scheme(t), []client.Object{&v1alpha1.Function{}}, objects...)
}

func get(t *testing.T, c client.Client) *v1alpha1.Function {
	t.Helper()
	var f v1alpha1.Function
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "hello"}, &f); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestOutcomes(t *testing.T) {
	broken := errors.New("broken")
	ok := func(context.Context, *v1alpha1.Function) error { return nil }
	fail := func(err error) reconcile.Step[*v1alpha1.Function] {
		return func(context.Context, *v1alpha1.Function) error { return err }
	}
	cases := map[string]struct {
		steps   []reconcile.Step[*v1alpha1.Function]
		after   time.Duration
		err     error
		lastRan bool
	}{
		"done":                {steps: []reconcile.Step[*v1alpha1.Function]{ok}, lastRan: true},
		"wait lets go on":     {steps: []reconcile.Step[*v1alpha1.Function]{fail(reconcile.Wait("x", time.Minute))}, after: time.Minute, lastRan: true},
		"the shortest wait":   {steps: []reconcile.Step[*v1alpha1.Function]{fail(reconcile.Wait("x", 0)), fail(reconcile.Wait("x", time.Hour)), fail(reconcile.Wait("x", time.Second))}, after: time.Second, lastRan: true},
		"an error stops":      {steps: []reconcile.Step[*v1alpha1.Function]{fail(broken)}, err: broken},
		"terminal stops":      {steps: []reconcile.Step[*v1alpha1.Function]{fail(reconcile.Terminal(broken))}},
		"error beats waiting": {steps: []reconcile.Step[*v1alpha1.Function]{fail(reconcile.Wait("x", time.Second)), fail(broken)}, err: broken},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			api := newClient(t, function())
			ran := false
			steps := append(c.steps, func(context.Context, *v1alpha1.Function) error { ran = true; return nil })
			result, err := reconcile.Run(t.Context(), api, get(t, api), (*v1alpha1.Function).Summarize, steps...)
			if result.RequeueAfter != c.after || !errors.Is(err, c.err) || ran != c.lastRan {
				t.Errorf("after %v, error %v, last step ran %v; want %v, %v, %v", result.RequeueAfter, err, ran, c.after, c.err, c.lastRan)
			}
			if got := get(t, api).Status.ObservedGeneration; got != 2 {
				t.Errorf("the status was not written, whatever the outcome: observed generation %d", got)
			}
		})
	}
}

func TestStatusIsWrittenOnceAndOnlyWhenItChanged(t *testing.T) {
	inner := newClient(t, function())
	api, writes := reconciletest.Mortal(inner, reconciletest.Crash{})
	mark := func(_ context.Context, f *v1alpha1.Function) error {
		f.Set(v1alpha1.True(v1alpha1.ConditionBuilt, v1alpha1.ReasonImageGiven, ""))
		return nil
	}
	for range 3 {
		if _, err := reconcile.Run(t.Context(), api, get(t, api), (*v1alpha1.Function).Summarize, mark, mark); err != nil {
			t.Fatal(err)
		}
	}
	if *writes != 1 {
		t.Errorf("%d writes, want 1", *writes)
	}
}

func TestStatusFromAnOldObjectDoesNotReplaceANewerOne(t *testing.T) {
	api := newClient(t, function())
	old := get(t, api)
	newer := get(t, api)
	newer.Status.URL = "http://new"
	if err := api.Status().Update(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	result, err := reconcile.Run(t.Context(), api, old, nil, func(_ context.Context, f *v1alpha1.Function) error {
		f.Status.URL = "http://old"
		return nil
	})
	if err != nil || result.RequeueAfter == 0 {
		t.Errorf("result %v, error %v; want another look soon", result, err)
	}
	if got := get(t, api).Status.URL; got != "http://new" {
		t.Errorf("URL %q", got)
	}
}

func TestACheckpointIsStoredBeforeTheStepGoesOn(t *testing.T) {
	inner := newClient(t, function())
	api, writes := reconciletest.Mortal(inner, reconciletest.Crash{})
	_, err := reconcile.Run(t.Context(), api, get(t, api), (*v1alpha1.Function).Summarize, func(ctx context.Context, f *v1alpha1.Function) error {
		f.Status.SourceDigest = "intent"
		if err := reconcile.Checkpoint(ctx, api, f); err != nil {
			return err
		}
		if got := get(t, inner).Status.SourceDigest; got != "intent" {
			t.Errorf("stored is %q", got)
		}
		f.Status.URL = "http://done"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, inner).Status; got.SourceDigest != "intent" || got.URL != "http://done" || *writes != 2 {
		t.Errorf("after %d writes %+v", *writes, got)
	}
}

func TestOnlyOneOfTwoMakesACheckpoint(t *testing.T) {
	api := newClient(t, function())
	first, second := get(t, api), get(t, api)
	went := 0
	step := func(ctx context.Context, f *v1alpha1.Function) error {
		f.Status.SourceDigest = "intent"
		if err := reconcile.Checkpoint(ctx, api, f); err != nil {
			return err
		}
		went++
		return nil
	}
	for _, f := range []*v1alpha1.Function{first, second} {
		if _, err := reconcile.Run(t.Context(), api, f, nil, step); err != nil {
			t.Fatal(err)
		}
	}
	if went != 1 {
		t.Errorf("%d went on", went)
	}
}

func TestAFunctionThatIsGoneOrGoingIsLeftAlone(t *testing.T) {
	api := newClient(t, function())
	gone := get(t, api)
	if err := api.Delete(t.Context(), get(t, api)); err != nil {
		t.Fatal(err)
	}
	touch := func(_ context.Context, f *v1alpha1.Function) error { f.Status.URL = "x"; return nil }
	if _, err := reconcile.Run(t.Context(), api, gone, nil, touch); err != nil {
		t.Errorf("gone: %v", err)
	}
	now := metav1.Now()
	going := function()
	going.DeletionTimestamp = &now
	if _, err := reconcile.Run(t.Context(), api, going, nil, touch); err != nil || going.Status.URL != "" {
		t.Errorf("going: error %v, status %+v", err, going.Status)
	}
}

func TestApplyOwnsReplacesAndKeeps(t *testing.T) {
	owner := function()
	api := newClient(t, owner)
	apply := func(data map[string]string) *corev1.ConfigMap {
		t.Helper()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "child"}, Data: data}
		if err := reconcile.Apply(t.Context(), api, owner, cm); err != nil {
			t.Fatal(err)
		}
		return cm
	}
	apply(map[string]string{"ours": "1", "dropped": "1"})
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "child"}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"theirs":"1"}}`))
	if err := api.Patch(t.Context(), other, patch); err != nil {
		t.Fatal(err)
	}
	stored := apply(map[string]string{"ours": "2"})
	if diff := cmp.Diff(map[string]string{"ours": "2", "theirs": "1"}, stored.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if !reconcile.Owns(owner, stored) || stored.ResourceVersion == "" {
		t.Errorf("not filled with what is stored: %+v", stored.ObjectMeta)
	}
	stranger := function()
	stranger.UID = "u2"
	if reconcile.Owns(stranger, stored) {
		t.Error("a Function of the same name and another UID counts as the owner")
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"bad request": {apierrors.NewBadRequest("admission webhook denied"), true},
		"timeout":     {apierrors.NewServerTimeout(corev1.Resource("pods"), "get", 1), false},
		"other":       {errors.New("refused connection"), false},
	} {
		if got := reconcile.Refused(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
