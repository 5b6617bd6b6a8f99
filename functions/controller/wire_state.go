package controller

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// sinkProvided is what every source of Knative says of its sink.
const sinkProvided apis.ConditionType = "SinkProvided"

// wired sums up the states of what brings a Function its events: the first
// fault, or else the first that is on its way.
func wired(states []metav1.Condition) metav1.Condition {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		if i := slices.IndexFunc(states, func(c metav1.Condition) bool { return c.Status == status }); i >= 0 {
			return states[i]
		}
	}
	return v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonSucceeded, "")
}

// wireState is what Knative says of an object, as it was stored.
func wireState(obj client.Object) metav1.Condition {
	name, passes := about(obj)
	status, err := knativeStatus(obj)
	if err != nil {
		return v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonInvalid, fmt.Sprintf("%s has a status that is not of Knative's shape: %v", name, err))
	}
	ready := status.GetCondition(apis.ConditionReady)
	behind := status.ObservedGeneration != 0 && status.ObservedGeneration != obj.GetGeneration()
	if ready == nil || behind {
		return v1alpha1.Unknown(v1alpha1.ConditionWired, v1alpha1.ReasonWiring, "waiting for Knative to take up "+name)
	}
	message := name + ": " + ready.Message
	fails := func(c apis.ConditionType) bool { return status.GetCondition(c).IsFalse() }
	switch {
	case ready.IsTrue():
		return v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonSucceeded, "")
	case ready.IsFalse() && (fails(eventingv1.TriggerConditionSubscriberResolved) || fails(sinkProvided)):
		// The Knative Service has no address yet; Knative looks again by itself.
		return v1alpha1.Unknown(v1alpha1.ConditionWired, v1alpha1.ReasonWiring, message)
	case ready.IsFalse() && !slices.ContainsFunc(passes, fails):
		return v1alpha1.False(v1alpha1.ConditionWired, reason(ready.Reason, "NotReady"), message)
	}
	return v1alpha1.Unknown(v1alpha1.ConditionWired, reason(ready.Reason, v1alpha1.ReasonWiring), message)
}

// about names an object, and the conditions that are False while something that
// it needs was just made.
func about(obj client.Object) (name string, passes []apis.ConditionType) {
	switch o := obj.(type) {
	case *eventingv1.Trigger:
		return fmt.Sprintf("Trigger %s on Broker %s", o.Name, o.Spec.Broker), []apis.ConditionType{eventingv1.TriggerConditionBroker}
	case *messagingv1.Subscription:
		return fmt.Sprintf("Subscription %s on Channel %s", o.Name, o.Spec.Channel.Name),
			[]apis.ConditionType{messagingv1.SubscriptionConditionReferencesResolved, messagingv1.SubscriptionConditionAddedToChannel, messagingv1.SubscriptionConditionChannelReady}
	case *messagingv1.Channel:
		return "Channel " + o.Name, []apis.ConditionType{messagingv1.ChannelConditionBackingChannelReady, messagingv1.ChannelConditionAddressable}
	case *unstructured.Unstructured:
		return o.GetKind() + " " + o.GetName(), nil
	}
	return obj.GetName(), nil
}

// knativeStatus is the status that all of Knative's objects have, a third
// party's sources too.
func knativeStatus(obj client.Object) (*duckv1.Status, error) {
	if shaped, ok := obj.(duckv1.KRShaped); ok {
		return shaped.GetStatus(), nil
	}
	var resource duckv1.KResource
	source, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%T has none", obj)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(source.Object, &resource); err != nil {
		return nil, err
	}
	return &resource.Status, nil
}
