package eventing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Wire returns the objects that bring a Function its events, in its namespace,
// each after those that it sends to:
//
//	broker   Trigger
//	channel  Subscription
//	source   the source; with reply or delivery also a Channel, which it sends
//	         to, and a Subscription of that Channel
//
// What an object takes its events from cannot change in Knative, so the name of
// an object is made from it: other filters, delivery or reply change it in place
// and lose no event, another broker or channel is another object. The sources
// of a kind are told apart by their order.
func Wire(fn *v1alpha1.Function) ([]client.Object, error) {
	w := wirer{function: fn, used: map[string]int{}}
	for i, event := range fn.Spec.Events {
		if err := w.wire(event); err != nil {
			return nil, fmt.Errorf("spec.events[%d].%w", i, err)
		}
	}
	return w.objects, nil
}

// DefaultBroker is the Broker that Knit brings into being for a namespace whose
// functions name it when nobody else did. Class and configuration are left to
// the cluster's defaults. It belongs to no function: others may use it too.
func DefaultBroker(namespace string) *eventingv1.Broker {
	return &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.DefaultBroker}}
}

// wirer collects the objects of one Function.
type wirer struct {
	function *v1alpha1.Function
	objects  []client.Object
	used     map[string]int // how many names were made from the same
}

func (w *wirer) wire(event v1alpha1.EventSource) error {
	delivery, err := makeDelivery(w.function.Namespace, event.Delivery)
	if err != nil {
		return err
	}
	reply, err := makeDestination(w.function.Namespace, event.Reply)
	if err != nil {
		return fmt.Errorf("reply.%w", err)
	}
	subscription := messagingv1.SubscriptionSpec{Subscriber: w.subscriber(), Reply: reply, Delivery: delivery}
	switch {
	case event.Source != nil:
		return w.source(event.Source, subscription)
	case event.Channel != "":
		w.subscribe(w.meta("Channel", event.Channel), event.Channel, subscription)
	default:
		w.objects = append(w.objects, &eventingv1.Trigger{
			// Triggers were there first: their names are of the broker alone.
			ObjectMeta: w.meta("", event.BrokerName()),
			Spec: eventingv1.TriggerSpec{
				Broker: event.BrokerName(), Filters: makeFilters(event.Filters),
				Subscriber: *subscription.Subscriber, Delivery: delivery,
			},
		})
	}
	return nil
}

func (w *wirer) subscribe(meta metav1.ObjectMeta, channel string, spec messagingv1.SubscriptionSpec) {
	spec.Channel = duckv1.KReference{APIVersion: messagingv1.SchemeGroupVersion.String(), Kind: "Channel", Name: channel}
	w.objects = append(w.objects, &messagingv1.Subscription{ObjectMeta: meta, Spec: spec})
}

func (w *wirer) source(template *v1alpha1.SourceTemplate, subscription messagingv1.SubscriptionSpec) error {
	spec, err := template.Fields()
	if err != nil {
		return fmt.Errorf("source.spec: %w", err)
	}
	group, _, _ := strings.Cut(template.APIVersion, "/")
	meta := w.meta("Source", template.Kind+"."+group)
	sink := subscription.Subscriber.Ref
	if subscription.Reply != nil || subscription.Delivery != nil {
		w.objects = append(w.objects, &messagingv1.Channel{ObjectMeta: meta})
		w.subscribe(meta, meta.Name, subscription)
		sink = &duckv1.KReference{APIVersion: messagingv1.SchemeGroupVersion.String(), Kind: "Channel", Namespace: meta.Namespace, Name: meta.Name}
	}
	spec["sink"] = map[string]any{"ref": map[string]any{
		"apiVersion": sink.APIVersion, "kind": sink.Kind, "namespace": sink.Namespace, "name": sink.Name,
	}}
	source := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	source.SetAPIVersion(template.APIVersion)
	source.SetKind(template.Kind)
	source.SetNamespace(meta.Namespace)
	source.SetName(meta.Name)
	source.SetLabels(meta.Labels)
	w.objects = append(w.objects, source)
	return nil
}

// subscriber is the Knative Service of the Function's name.
func (w *wirer) subscriber() *duckv1.Destination {
	return &duckv1.Destination{Ref: &duckv1.KReference{
		APIVersion: "serving.knative.dev/v1", Kind: "Service", Namespace: w.function.Namespace, Name: w.function.Name,
	}}
}

// meta names what brings events from something of a kind. The name is unique
// for a function, that something and the how-manieth event from it. The hash
// keeps "a" on "b-c" apart from "a-b" on "c", and the name short.
func (w *wirer) meta(kind, from string) metav1.ObjectMeta {
	origin := from
	if kind != "" {
		origin = kind + "\x00" + from
	}
	sum := sha256.Sum256([]byte(w.function.Name + "\x00" + origin))
	name := fmt.Sprintf("%s-%s-%d", w.function.Name, hex.EncodeToString(sum[:4]), w.used[origin])
	w.used[origin]++
	return metav1.ObjectMeta{
		Namespace: w.function.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelFunction: w.function.Name},
	}
}
