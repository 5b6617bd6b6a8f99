package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

func TestWireState(t *testing.T) {
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
			got := wireState(trigger)
			if state := string(got.Status) + " " + got.Reason; state != c.want {
				t.Errorf("state is %q, want %q: %s", state, c.want, c.reason)
			}
		})
	}
}

// wires are the names of all that brings events, in order of their kinds.
func (w *world) wires() []string {
	w.t.Helper()
	names := []string{}
	for _, list := range []client.ObjectList{&eventingv1.TriggerList{}, &messagingv1.SubscriptionList{}, &messagingv1.ChannelList{}, &sourcesv1.PingSourceList{}} {
		w.must(w.List(w.t.Context(), list))
		w.must(meta.EachListItem(list, func(o runtime.Object) error {
			if metav1.IsControlledBy(o.(client.Object), w.function()) {
				names = append(names, fmt.Sprintf("%T %s", o, o.(client.Object).GetName()))
			}
			return nil
		}))
	}
	return names
}

func TestWhatIsNoLongerWantedGoes(t *testing.T) {
	w := newWorld(t, function(withImage("i"), withEvents(v1alpha1.EventSource{Broker: "a"}, v1alpha1.EventSource{Broker: "b"}, v1alpha1.EventSource{Channel: "c"}, ping(&v1alpha1.Delivery{}))),
		broker("shop", "a"), broker("shop", "b"), channel("shop", "c"), definition("true"))
	w.settle()
	want := []string{"*v1.Trigger hello-a", "*v1.Trigger hello-b", "*v1.Subscription hello-c", "*v1.Subscription hello-source-3", "*v1.Channel hello-source-3", "*v1.PingSource hello-source-3"}
	if diff := cmp.Diff(want, w.wires()); diff != "" || !w.function().Holds("Ready") {
		t.Fatalf("Ready is %s; wires (-want +got):\n%s", condition(w.function(), "Ready"), diff)
	}
	w.change(withBrokers("b"))
	w.settle()
	if diff := cmp.Diff([]string{"*v1.Trigger hello-b"}, w.wires()); diff != "" || len(w.function().Status.SourceKinds) != 0 {
		t.Errorf("source kinds %v; wires (-want +got):\n%s", w.function().Status.SourceKinds, diff)
	}
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "c"}, &messagingv1.Channel{}))
}

// Whenever the process dies while it makes a source, a later one removes the
// source when it is no longer wanted.
func TestNoSourceIsForgotten(t *testing.T) {
	made := 0
	for at := 1; at < 10; at++ {
		for _, done := range []bool{false, true} {
			w := newWorld(t, function(withImage("i"), withEvents(ping(nil))), definition("true"))
			_, _, _ = w.reconcile(reconciletest.Crash{At: at, Done: done})
			made += len(w.wires())
			w.change(withEvents())
			w.settle()
			if left := w.wires(); len(left) > 0 {
				t.Errorf("dead at write %d, done %v: left are %v", at, done, left)
			}
		}
	}
	if made == 0 {
		t.Error("no source was ever made")
	}
}

func TestASourceWaitsForItsChannel(t *testing.T) {
	w := newWorld(t, function(withImage("i"), withEvents(ping(&v1alpha1.Delivery{}))), definition("true"))
	for range 3 {
		_, _, err := w.reconcile(reconciletest.Crash{})
		w.must(err)
	}
	if diff := cmp.Diff([]string{"*v1.Subscription hello-source-0", "*v1.Channel hello-source-0"}, w.wires()); diff != "" {
		t.Errorf("before the Channel delivers (-want +got):\n%s", diff)
	}
	w.settle()
	if len(w.wires()) != 3 || !w.function().Holds("Ready") {
		t.Errorf("wires %v, Ready %s", w.wires(), condition(w.function(), "Ready"))
	}
}

// The control plane may do more than who wrote the Function: only what is
// labelled as a source is made.
func TestOnlySourcesAreMade(t *testing.T) {
	other := ping(nil)
	other.Source.Kind = "Elsewhere"
	for name, c := range map[string]struct {
		event      v1alpha1.EventSource
		definition *apiextensionsv1.CustomResourceDefinition
		want, text string
		again      bool
		reason     string
	}{
		"no definition":  {ping(nil), nil, "False Invalid", "is no source", false, "it is built into the API server, or aggregated"},
		"another kind":   {ping(nil), definition("false"), "False Invalid", "is no source", false, "it may be anything"},
		"not installed":  {other, definition("true"), "False SourceKindNotFound", "no kind Elsewhere", true, "somebody may install it"},
		"a source":       {ping(nil), definition("true"), "True Ready", "", false, "it is one"},
		"with a channel": {ping(&v1alpha1.Delivery{}), definition("true"), "True Ready", "", false, "it is one"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, function(withImage("i"), withEvents(c.event)))
			if c.definition != nil {
				w.must(w.Create(t.Context(), c.definition))
			}
			w.settle()
			result, _, err := w.reconcile(reconciletest.Crash{})
			w.must(err)
			ready := meta.FindStatusCondition(w.function().Status.Conditions, "Ready")
			if got := string(ready.Status) + " " + ready.Reason; got != c.want || !strings.Contains(ready.Message, c.text) || (result.RequeueAfter > 0) != c.again {
				t.Errorf("Ready is %s %q, again after %v; want %s: %s", got, ready.Message, result.RequeueAfter, c.want, c.reason)
			}
			var pings sourcesv1.PingSourceList
			w.must(w.List(t.Context(), &pings))
			if (len(pings.Items) > 0) != (ready.Status == metav1.ConditionTrue) {
				t.Errorf("%d sources: %s", len(pings.Items), c.reason)
			}
		})
	}
}
