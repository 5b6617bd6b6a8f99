package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
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

// wiring is a stand-in for the room of events: a Trigger for each broker, a
// Subscription for each channel, and the sources, with a Channel when they have
// a delivery.
var wiring = Wiring{
	Objects: func(fn *v1alpha1.Function) ([]client.Object, error) {
		var objects []client.Object
		for i, e := range fn.Spec.Events {
			named := func(from string) metav1.ObjectMeta {
				return metav1.ObjectMeta{Namespace: fn.Namespace, Name: fn.Name + "-" + from, Labels: map[string]string{v1alpha1.LabelFunction: fn.Name}}
			}
			subscription := &messagingv1.Subscription{ObjectMeta: named(e.Channel), Spec: messagingv1.SubscriptionSpec{Channel: duckv1.KReference{Name: e.Channel}}}
			switch {
			case e.Source != nil:
				source := &unstructured.Unstructured{Object: map[string]any{}}
				source.SetAPIVersion(e.Source.APIVersion)
				source.SetKind(e.Source.Kind)
				source.SetNamespace(fn.Namespace)
				source.SetName(fmt.Sprintf("%s-source-%d", fn.Name, i))
				source.SetLabels(named("").Labels)
				sink := "Service"
				if e.Delivery != nil {
					sink, subscription.Name = "Channel", source.GetName()
					channel := &messagingv1.Channel{ObjectMeta: *subscription.ObjectMeta.DeepCopy()}
					objects = append(objects, channel, subscription)
				}
				source.Object["spec"] = map[string]any{"sink": map[string]any{"ref": map[string]any{"kind": sink, "name": "x"}}}
				objects = append(objects, source)
			case e.Channel != "":
				objects = append(objects, subscription)
			default:
				objects = append(objects, &eventingv1.Trigger{ObjectMeta: named(e.BrokerName()), Spec: eventingv1.TriggerSpec{Broker: e.BrokerName()}})
			}
		}
		return objects, nil
	},
	DefaultBroker: func(namespace string) *eventingv1.Broker { return broker(namespace, "default") },
}

func subscriber(namespace, name string) *duckv1.KReference {
	return &duckv1.KReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Namespace: namespace, Name: name}
}

func broker(namespace, name string) *eventingv1.Broker {
	return &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func channel(namespace, name string) *messagingv1.Channel {
	return &messagingv1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// definition is that of PingSource, with Knative's label or without.
func definition(source string) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{
		Name: "pingsources.sources.knative.dev", Labels: map[string]string{labelSource: source},
	}}
}

func ping(delivery *v1alpha1.Delivery) v1alpha1.EventSource {
	return v1alpha1.EventSource{Source: &v1alpha1.SourceTemplate{APIVersion: "sources.knative.dev/v1", Kind: "PingSource"}, Delivery: delivery}
}

func withEvents(events ...v1alpha1.EventSource) option {
	return func(fn *v1alpha1.Function) { fn.Spec.Events = events }
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
	now        time.Time // a whole second, as creation times in the API are
	buildFails bool
}

func newWorld(t testing.TB, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{AddToScheme, sourcesv1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	withStatus := []client.Object{&v1alpha1.Function{}, &v1alpha1.Build{}, &servingv1.Service{}, &eventingv1.Trigger{}, &eventingv1.Broker{},
		&messagingv1.Subscription{}, &messagingv1.Channel{}, &sourcesv1.PingSource{}}
	return &world{t: t, now: time.Now().Truncate(time.Second), WithWatch: reconciletest.Fake(t, scheme, withStatus, objects...)}
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
	r := New(c, c, c, wiring)
	r.now = func() time.Time { return w.now }
	result, err = ctrl.AsReconciler(c, r).Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "hello"}})
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

// eventing makes ready what has all that it needs.
func (w *world) eventing(ctx context.Context) {
	w.t.Helper()
	var triggers eventingv1.TriggerList
	w.must(w.List(ctx, &triggers))
	for i := range triggers.Items {
		trigger := &triggers.Items[i]
		w.judge(trigger, &trigger.Status.Status, broker(trigger.Namespace, trigger.Spec.Broker))
	}
	var subscriptions messagingv1.SubscriptionList
	w.must(w.List(ctx, &subscriptions))
	for i := range subscriptions.Items {
		subscription := &subscriptions.Items[i]
		w.judge(subscription, &subscription.Status.Status, channel(subscription.Namespace, subscription.Spec.Channel.Name))
	}
	var channels messagingv1.ChannelList
	w.must(w.List(ctx, &channels))
	for i := range channels.Items {
		w.judge(&channels.Items[i], &channels.Items[i].Status.Status, nil)
	}
	var pings sourcesv1.PingSourceList
	w.must(w.List(ctx, &pings))
	for i := range pings.Items {
		w.judge(&pings.Items[i], &pings.Items[i].Status.Status, nil)
	}
}

// judge says of an object whether it is ready: what it needs has to be there.
func (w *world) judge(obj client.Object, status *duckv1.Status, needs client.Object) {
	w.t.Helper()
	want := corev1.ConditionTrue
	if needs != nil && needs.GetName() != "" && w.Get(context.Background(), client.ObjectKeyFromObject(needs), needs) != nil {
		want = corev1.ConditionFalse
	}
	if c := status.GetCondition(apis.ConditionReady); c != nil && c.Status == want {
		return
	}
	status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: want}}
	w.must(w.Status().Update(context.Background(), obj))
}

// dump is everything that matters about the world, without versions and times.
func (w *world) dump() string {
	w.t.Helper()
	var out strings.Builder
	for _, list := range []client.ObjectList{&v1alpha1.FunctionList{}, &v1alpha1.BuildList{}, &servingv1.ServiceList{}, &eventingv1.TriggerList{}, &eventingv1.BrokerList{},
		&messagingv1.SubscriptionList{}, &messagingv1.ChannelList{}, &sourcesv1.PingSourceList{}} {
		w.must(w.List(context.Background(), list))
		w.must(meta.EachListItem(list, func(o runtime.Object) error {
			out.WriteString(text(w.t, o.(client.Object)) + "\n")
			return nil
		}))
	}
	return out.String()
}
