package eventing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Wire returns the Triggers that a Function wants, one for each of its events.
// Each sends to the Knative Service of the Function's name.
//
// The broker of a Trigger cannot change, so the name of a Trigger is made from
// its broker: other filters change a Trigger in place and lose no event, another
// broker is another Trigger.
func Wire(fn *v1alpha1.Function) ([]*eventingv1.Trigger, error) {
	triggers := make([]*eventingv1.Trigger, 0, len(fn.Spec.Events))
	ofBroker := map[string]int{}
	for i, event := range fn.Spec.Events {
		broker := event.BrokerName()
		delivery, err := makeDelivery(fn.Namespace, event.Delivery)
		if err != nil {
			return nil, fmt.Errorf("spec.events[%d].delivery.deadLetterSink.uri: %w", i, err)
		}
		triggers = append(triggers, &eventingv1.Trigger{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: fn.Namespace,
				Name:      triggerName(fn.Name, broker, ofBroker[broker]),
				Labels:    map[string]string{v1alpha1.LabelFunction: fn.Name},
			},
			Spec: eventingv1.TriggerSpec{
				Broker:  broker,
				Filters: makeFilters(event.Filters),
				Subscriber: duckv1.Destination{Ref: &duckv1.KReference{
					APIVersion: "serving.knative.dev/v1", Kind: "Service", Namespace: fn.Namespace, Name: fn.Name,
				}},
				Delivery: delivery,
			},
		})
		ofBroker[broker]++
	}
	return triggers, nil
}

// triggerName is unique for a function, a broker and the how-manieth event from
// it. The hash keeps "a" on "b-c" apart from "a-b" on "c", and the name short.
func triggerName(function, broker string, n int) string {
	sum := sha256.Sum256([]byte(function + "\x00" + broker))
	return fmt.Sprintf("%s-%s-%d", function, hex.EncodeToString(sum[:4]), n)
}

// DefaultBroker is the Broker that Knit brings into being for a namespace whose
// functions name it when nobody else did. Class and configuration are left to
// the cluster's defaults. It belongs to no function: others may use it too.
func DefaultBroker(namespace string) *eventingv1.Broker {
	return &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.DefaultBroker}}
}

func makeDelivery(namespace string, d *v1alpha1.Delivery) (*eventingduckv1.DeliverySpec, error) {
	if d == nil {
		return nil, nil
	}
	spec := &eventingduckv1.DeliverySpec{Retry: d.Retry, BackoffDelay: d.BackoffDelay}
	if d.BackoffPolicy != nil {
		policy := eventingduckv1.BackoffPolicyType(*d.BackoffPolicy)
		spec.BackoffPolicy = &policy
	}
	if d.DeadLetterSink == nil {
		return spec, nil
	}
	sink := &duckv1.Destination{}
	if ref := d.DeadLetterSink.Ref; ref != nil {
		sink.Ref = &duckv1.KReference{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: namespace, Name: ref.Name}
	}
	if raw := d.DeadLetterSink.URI; raw != "" {
		uri, err := apis.ParseURL(raw)
		if err != nil {
			return nil, err
		}
		sink.URI = uri
	}
	spec.DeadLetterSink = sink
	return spec, nil
}

func makeFilters(filters []v1alpha1.Filter) []eventingv1.SubscriptionsAPIFilter {
	return each(filters, func(f v1alpha1.Filter) eventingv1.SubscriptionsAPIFilter {
		out := match(f.FilterMatch)
		out.All, out.Any = each(f.All, group), each(f.Any, group)
		if f.Not != nil {
			not := group(*f.Not)
			out.Not = &not
		}
		return out
	})
}

func group(f v1alpha1.FilterGroup) eventingv1.SubscriptionsAPIFilter {
	out := match(f.FilterMatch)
	out.All, out.Any = each(f.All, leaf), each(f.Any, leaf)
	if f.Not != nil {
		not := leaf(*f.Not)
		out.Not = &not
	}
	return out
}

func leaf(f v1alpha1.FilterLeaf) eventingv1.SubscriptionsAPIFilter { return match(f.FilterMatch) }

func match(f v1alpha1.FilterMatch) eventingv1.SubscriptionsAPIFilter {
	return eventingv1.SubscriptionsAPIFilter{Exact: f.Exact, Prefix: f.Prefix, Suffix: f.Suffix, CESQL: f.CESQL}
}

func each[A, B any](in []A, convert func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, convert(a))
	}
	return out
}
