package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

func TestTriggerState(t *testing.T) {
	is := func(kind apis.ConditionType, status corev1.ConditionStatus, reason string) apis.Condition {
		return apis.Condition{Type: kind, Status: status, Reason: reason}
	}
	const yes, no, unknown = corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown
	for name, c := range map[string]struct {
		conditions duckv1.Conditions
		behind     bool
		want       string
		reason     string
	}{
		"nothing said yet":   {want: "Unknown Wiring", reason: "Knative has not looked"},
		"of an older spec":   {conditions: duckv1.Conditions{is(apis.ConditionReady, yes, "")}, behind: true, want: "Unknown Wiring", reason: "what is said is about another generation"},
		"ready":              {conditions: duckv1.Conditions{is(apis.ConditionReady, yes, "")}, want: "True Succeeded", reason: "events arrive"},
		"on its way":         {conditions: duckv1.Conditions{is(apis.ConditionReady, unknown, "SubscriptionNotConfigured")}, want: "Unknown SubscriptionNotConfigured", reason: "Knative is at it"},
		"no subscriber yet":  {conditions: duckv1.Conditions{is(apis.ConditionReady, no, "x"), is(eventingv1.TriggerConditionSubscriberResolved, no, "x")}, want: "Unknown Wiring", reason: "the Knative Service gets its address later"},
		"a Broker just made": {conditions: duckv1.Conditions{is(apis.ConditionReady, no, "NoAddress"), is(eventingv1.TriggerConditionBroker, no, "NoAddress")}, want: "Unknown NoAddress", reason: "its channel gets an address later"},
		"a fault of its own": {conditions: duckv1.Conditions{is(apis.ConditionReady, no, "NotSubscribed")}, want: "False NotSubscribed", reason: "nobody mends it"},
	} {
		t.Run(name, func(t *testing.T) {
			trigger := &eventingv1.Trigger{}
			trigger.Generation, trigger.Status.ObservedGeneration = 2, 2
			if c.behind {
				trigger.Status.ObservedGeneration = 1
			}
			trigger.Status.Conditions = c.conditions
			got := triggerState(trigger)
			if state := string(got.Status) + " " + got.Reason; state != c.want {
				t.Errorf("state is %q, want %q: %s", state, c.want, c.reason)
			}
		})
	}
}
