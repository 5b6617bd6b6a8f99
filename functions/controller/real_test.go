package controller

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

func realCluster(t *testing.T) reconciletest.Cluster {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	crds, err := filepath.Glob(filepath.Join("..", "..", "deploy", "manifests", "crds", "knit.dev_*.yaml"))
	if err != nil || len(crds) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	return reconciletest.Real(t, scheme, crds...)
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !yes(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// With Knative's webhooks in between, applying the same again must change
// nothing, and applying another thing must change it once.
func TestOnARealClusterApplyingAgainChangesNothing(t *testing.T) {
	cluster := realCluster(t)
	api, ctx := cluster.Client, t.Context()
	fn := &v1alpha1.Function{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "hello"},
		Spec: v1alpha1.FunctionSpec{
			// A digest is not resolved; the image need not be there.
			Source: v1alpha1.Source{Image: "registry.invalid/hello@" + digestA},
			Env:    []corev1.EnvVar{{Name: "A", Value: "1"}},
			Events: []v1alpha1.EventSource{{Broker: "orders", Filters: []v1alpha1.Filter{{FilterMatch: v1alpha1.FilterMatch{Exact: map[string]string{"type": "a"}}}}}},
		},
	}
	if err := api.Create(ctx, fn); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKeyFromObject(fn)
	r := ctrl.AsReconciler(api, New(api, api, api, wiringTo(fn.Name)))
	look := func() {
		t.Helper()
		if _, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
	}
	service := func() *servingv1.Service {
		t.Helper()
		var s servingv1.Service
		if err := api.Get(ctx, key, &s); err != nil {
			t.Fatal(err)
		}
		return &s
	}
	for range 5 {
		look()
	}
	if got := service().Generation; got != 1 {
		t.Errorf("applied five times, the Service has generation %d", got)
	}
	if err := api.Get(ctx, key, fn); err != nil {
		t.Fatal(err)
	}
	if got := condition(fn, v1alpha1.ConditionWired); got != "False BrokerNotFound" {
		t.Errorf("Wired is %s", got)
	}
	fn.Spec.Env = []corev1.EnvVar{{Name: "B", Value: "2"}}
	if err := api.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		look()
	}
	s := service()
	if env := s.Spec.Template.Spec.Containers[0].Env; s.Generation != 2 || len(env) != 3 || env[2].Name != "B" {
		t.Errorf("after a change generation %d, env %v", s.Generation, env)
	}
	var triggers eventingv1.TriggerList
	if err := api.List(ctx, &triggers, client.InNamespace(cluster.Namespace)); err != nil || len(triggers.Items) != 1 || triggers.Items[0].Generation != 1 {
		t.Errorf("error %v, triggers %v", err, triggers.Items)
	}
	if err := api.Delete(ctx, fn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the children of a deleted Function go", func() bool {
		return apierrors.IsNotFound(api.Get(ctx, key, &servingv1.Service{})) &&
			api.List(ctx, &triggers, client.InNamespace(cluster.Namespace)) == nil && len(triggers.Items) == 0
	})
}

func wiringTo(name string) Wiring {
	w := wiring
	w.Objects = func(fn *v1alpha1.Function) ([]client.Object, error) {
		objects, err := wiring.Objects(fn)
		for _, obj := range objects {
			if trigger, ok := obj.(*eventingv1.Trigger); ok {
				trigger.Spec.Subscriber.Ref = subscriber(fn.Namespace, name)
				trigger.Spec.Filters = []eventingv1.SubscriptionsAPIFilter{{Exact: map[string]string{"type": "a"}}}
			}
		}
		return objects, err
	}
	return w
}

func TestOnARealClusterABuildNeverChanges(t *testing.T) {
	cluster := realCluster(t)
	b := &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "b"},
		Spec:       v1alpha1.BuildSpec{Function: "hello", Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: digestA}}},
	}
	if err := cluster.Client.Create(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	b.Spec.Tag = "v1"
	if err := cluster.Client.Update(t.Context(), b); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("error %v", err)
	}
}
