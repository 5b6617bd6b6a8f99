package controller

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	revisionA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// wiring is a stand-in for the room of events: one Trigger for each broker.
var wiring = Wiring{
	Triggers: func(fn *v1alpha1.Function) ([]*eventingv1.Trigger, error) {
		var triggers []*eventingv1.Trigger
		for _, e := range fn.Spec.Events {
			triggers = append(triggers, &eventingv1.Trigger{
				ObjectMeta: metav1.ObjectMeta{Namespace: fn.Namespace, Name: fn.Name + "-" + e.BrokerName(), Labels: map[string]string{v1alpha1.LabelFunction: fn.Name}},
				Spec:       eventingv1.TriggerSpec{Broker: e.BrokerName()},
			})
		}
		return triggers, nil
	},
	DefaultBroker: func(namespace string) *eventingv1.Broker { return broker(namespace, "default") },
}

func subscriber(namespace, name string) *duckv1.KReference {
	return &duckv1.KReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Namespace: namespace, Name: name}
}

func broker(namespace, name string) *eventingv1.Broker {
	return &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func platform(extra ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.NamespaceSystem, Name: v1alpha1.PlatformConfigMap},
		Data:       map[string]string{"registry": "r:5000", "domain": "knit.localhost", "url-port": "8080", "builder-image": "r:5000/builder@" + digestA, "fetch-image": "r:5000/fetch@" + digestA},
	}
	for _, key := range extra {
		cm.Data[key] = "true"
	}
	return cm
}

type option func(*v1alpha1.Function)

func function(options ...option) *v1alpha1.Function {
	fn := &v1alpha1.Function{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hello", UID: "uid-1", Generation: 1},
		Spec:       v1alpha1.FunctionSpec{Source: v1alpha1.Source{Archive: &v1alpha1.Archive{Digest: digestA}}},
	}
	for _, o := range options {
		o(fn)
	}
	return fn
}

func withImage(image string) option {
	return func(fn *v1alpha1.Function) { fn.Spec.Source = v1alpha1.Source{Image: image} }
}

func withSource(digest string) option {
	return func(fn *v1alpha1.Function) {
		fn.Spec.Source = v1alpha1.Source{Archive: &v1alpha1.Archive{Digest: digest}}
	}
}

func withGit(url string) option {
	return func(fn *v1alpha1.Function) {
		fn.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: url}}
	}
}

func withBrokers(names ...string) option {
	return func(fn *v1alpha1.Function) {
		fn.Spec.Events = nil
		for _, name := range names {
			fn.Spec.Events = append(fn.Spec.Events, v1alpha1.EventSource{Broker: name})
		}
	}
}

// world is an API with everybody else who works on the objects.
type world struct {
	t testing.TB
	client.WithWatch
	buildFails bool
}

func newWorld(t testing.TB, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	withStatus := []client.Object{&v1alpha1.Function{}, &v1alpha1.Build{}, &servingv1.Service{}, &eventingv1.Trigger{}, &eventingv1.Broker{}}
	return &world{t: t, WithWatch: reconciletest.Fake(t, scheme, withStatus, objects...)}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) function() *v1alpha1.Function {
	w.t.Helper()
	var fn v1alpha1.Function
	w.must(w.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "hello"}, &fn))
	return &fn
}

// change is a person's edit; the API server counts generations, the fake one
// does not.
func (w *world) change(o option) {
	w.t.Helper()
	fn := w.function()
	o(fn)
	fn.Generation++
	w.must(w.Update(context.Background(), fn))
}

// reconcile is one look of the controller, by a process that may die.
func (w *world) reconcile(crash reconciletest.Crash) (result ctrl.Result, writes int, err error) {
	c, count := reconciletest.Mortal(w.WithWatch, crash)
	result, err = ctrl.AsReconciler(c, New(c, c, c, wiring)).Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "hello"}})
	return result, *count, err
}

// settle lets the controller and all others work until nothing changes.
func (w *world) settle() {
	w.t.Helper()
	for range 20 {
		before := w.dump()
		_, _, err := w.reconcile(reconciletest.Crash{})
		w.must(err)
		w.others()
		if w.dump() == before {
			return
		}
	}
	w.t.Fatalf("it never comes to rest:\n%s", w.dump())
}

// others are the builder and Knative.
func (w *world) others() {
	w.t.Helper()
	ctx := context.Background()
	var builds v1alpha1.BuildList
	w.must(w.List(ctx, &builds))
	for _, b := range builds.Items {
		if ended, _ := b.Done(); ended {
			continue
		}
		b.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
		b.Status.Image = "r:5000/shop/hello@" + b.Spec.Source.Archive.Digest
		b.Status.SourceDigest = b.Spec.Source.Archive.Digest
		if b.Spec.Source.Git != nil {
			b.Status.Revision, b.Status.SourceDigest = revisionA, digestB
		}
		if w.buildFails {
			b.Set(v1alpha1.False(v1alpha1.ConditionSucceeded, "build", "main.go:3: undefined: x"))
			b.Status.Image = ""
		}
		w.must(w.Status().Update(ctx, &b))
	}
	var services servingv1.ServiceList
	w.must(w.List(ctx, &services))
	for _, s := range services.Items {
		if s.Status.GetCondition(apis.ConditionReady).IsTrue() {
			continue
		}
		s.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: corev1.ConditionTrue}}
		s.Status.LatestReadyRevisionName = "hello-00001"
		s.Status.URL, _ = apis.ParseURL("http://hello.shop.knit.localhost")
		inside, _ := apis.ParseURL("http://hello.shop.svc.cluster.local")
		s.Status.Address = &duckv1.Addressable{URL: inside}
		w.must(w.Status().Update(ctx, &s))
	}
	w.eventing(ctx)
}

func (w *world) eventing(ctx context.Context) {
	w.t.Helper()
	var triggers eventingv1.TriggerList
	w.must(w.List(ctx, &triggers))
	for _, trigger := range triggers.Items {
		err := w.Get(ctx, client.ObjectKey{Namespace: trigger.Namespace, Name: trigger.Spec.Broker}, &eventingv1.Broker{})
		want := corev1.ConditionTrue
		if err != nil {
			want = corev1.ConditionFalse
		}
		if c := trigger.Status.GetTopLevelCondition(); c != nil && c.Status == want {
			continue
		}
		trigger.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: want}}
		w.must(w.Status().Update(ctx, &trigger))
	}
}

// dump is everything that matters about the world, without versions and times.
func (w *world) dump() string {
	w.t.Helper()
	var out strings.Builder
	for _, list := range []client.ObjectList{&v1alpha1.FunctionList{}, &v1alpha1.BuildList{}, &servingv1.ServiceList{}, &eventingv1.TriggerList{}, &eventingv1.BrokerList{}} {
		w.must(w.List(context.Background(), list))
		w.must(meta.EachListItem(list, func(o runtime.Object) error {
			out.WriteString(text(w.t, o.(client.Object)) + "\n")
			return nil
		}))
	}
	return out.String()
}
