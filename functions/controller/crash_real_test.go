package controller

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// life is one Function on a real API server, from its making to its rest.
type life struct {
	t    *testing.T
	api  client.WithWatch
	name client.ObjectKey
}

// withPlatform answers for the settings of the platform, which a cluster
// without the control plane has not.
func withPlatform(api client.WithWatch) client.WithWatch {
	settings := platform()
	return interceptor.NewClient(api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if cm, ok := obj.(*corev1.ConfigMap); ok && key == client.ObjectKeyFromObject(settings) {
				settings.DeepCopyInto(cm)
				return nil
			}
			return c.Get(ctx, key, obj, opts...)
		},
	})
}

// live lets a process that dies at a write, and then another, look until nothing
// changes any more, while the Build succeeds. It returns how many writes the
// first one made.
func (l life) live(crash reconciletest.Crash) (writes int) {
	l.t.Helper()
	fn := function(withBrokers("orders"))
	fn.ObjectMeta = metav1.ObjectMeta{Namespace: l.name.Namespace, Name: l.name.Name}
	if err := l.api.Create(l.t.Context(), fn); err != nil {
		l.t.Fatal(err)
	}
	mortal, count := reconciletest.Mortal(l.api, crash)
	looks := 6
	for range looks {
		if err := l.look(mortal); err != nil && crash.At == 0 {
			l.t.Fatal(err)
		}
		l.build()
	}
	for range looks {
		if err := l.look(l.api); err != nil {
			l.t.Fatal(err)
		}
		l.build()
	}
	return *count
}

func (l life) look(c client.Client) error {
	_, err := ctrl.AsReconciler(c, New(c, c, c, wiringTo(l.name.Name))).Reconcile(l.t.Context(), ctrl.Request{NamespacedName: l.name})
	return err
}

// build is the builder's part.
func (l life) build() {
	l.t.Helper()
	for _, b := range l.builds() {
		if ended, _ := b.Done(); ended {
			continue
		}
		b.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, v1alpha1.ReasonSucceeded, ""))
		b.Status.Image = "registry.invalid/hello@" + digestA
		if err := l.api.Status().Update(l.t.Context(), &b); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l life) builds() []v1alpha1.Build {
	l.t.Helper()
	var all v1alpha1.BuildList
	if err := l.api.List(l.t.Context(), &all, client.InNamespace(l.name.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: l.name.Name}); err != nil {
		l.t.Fatal(err)
	}
	return all.Items
}

// end is everything that was made for the Function, with how often it was written.
func (l life) end() string {
	l.t.Helper()
	var out strings.Builder
	for _, b := range l.builds() {
		fmt.Fprintln(&out, "build", b.Name, b.Generation, b.Spec.Source.Archive.Digest, len(b.OwnerReferences))
	}
	var s servingv1.Service
	if err := l.api.Get(l.t.Context(), l.name, &s); err != nil {
		l.t.Fatal(err)
	}
	fmt.Fprintln(&out, "service", s.Generation, s.Spec.Template.Spec.Containers[0].Image, len(s.OwnerReferences))
	var triggers eventingv1.TriggerList
	if err := l.api.List(l.t.Context(), &triggers, client.InNamespace(l.name.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: l.name.Name}); err != nil {
		l.t.Fatal(err)
	}
	for _, trigger := range triggers.Items {
		fmt.Fprintln(&out, "trigger", trigger.Name, trigger.Generation, trigger.Spec.Broker, len(trigger.OwnerReferences))
	}
	var fn v1alpha1.Function
	if err := l.api.Get(l.t.Context(), l.name, &fn); err != nil {
		l.t.Fatal(err)
	}
	fmt.Fprintln(&out, "status", fn.Status.ObservedGeneration, fn.Status.Image, fn.Status.BuildRef, condition(&fn, "Built"), condition(&fn, "Wired"))
	return strings.ReplaceAll(out.String(), l.name.Name, "NAME")
}

// The way from a source to a Service and its Triggers, with the process dying
// at each of its writes, done and not done: whoever goes on makes nothing twice,
// writes nothing twice, and loses no status.
func TestOnARealClusterTheProcessMayDieAtAnyWrite(t *testing.T) {
	cluster := realCluster(t)
	api := withPlatform(cluster.Client)
	whole := life{t: t, api: api, name: client.ObjectKey{Namespace: cluster.Namespace, Name: "whole"}}
	writes := whole.live(reconciletest.Crash{})
	want := whole.end()
	if writes < 5 || !strings.Contains(want, "trigger NAME-orders 1 orders 1") || strings.Count(want, "build") != 1 {
		t.Fatalf("%d writes to this end:\n%s", writes, want)
	}
	for at := 1; at <= writes; at++ {
		for _, done := range []bool{false, true} {
			l := life{t: t, api: api, name: client.ObjectKey{Namespace: cluster.Namespace, Name: fmt.Sprintf("at-%d-%v", at, done)}}
			l.live(reconciletest.Crash{At: at, Done: done})
			if diff := cmp.Diff(hashless(want), hashless(l.end())); diff != "" {
				t.Errorf("dead at write %d, done %v (-want +got):\n%s", at, done, diff)
			}
		}
	}
}

var buildHash = regexp.MustCompile(`NAME-[0-9a-f]{10}`)

// hashless takes the digest out of the names of Builds, which the Function's
// name is a part of.
func hashless(end string) string { return buildHash.ReplaceAllString(end, "NAME-hash") }
