//go:build e2e

package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// letters are the dead letters of the stage that flags select.
func (s *stage) letters(flags ...string) []deadletter.Letter {
	s.t.Helper()
	var list deadletter.List
	code, out, errs := s.knit(append([]string{"deadletter", "list", "-o", "json"}, flags...)...)
	if code != 0 {
		if !strings.Contains(errs, "does not answer") {
			s.t.Fatalf("list dead letters: %s", errs)
		}
		return nil // The store is on its way.
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatalf("list dead letters: %v in %s", err, out)
	}
	return list.Items
}

// letter waits until an event is a dead letter.
func (s *stage) letter(id string, flags ...string) (found deadletter.Letter) {
	s.t.Helper()
	s.within(2*time.Minute, id+" is a dead letter", func() (bool, string) {
		letters := s.letters(flags...)
		for _, l := range letters {
			if found = l; l.Event.ID == id {
				return true, ""
			}
		}
		return false, fmt.Sprint(letters)
	})
	return found
}

// heal lets a receiver take what it refused until now.
func (s *stage) heal(name string) {
	s.t.Helper()
	s.change(name, func(fn *v1alpha1.Function) {
		for i := range fn.Spec.Env {
			if fn.Spec.Env[i].Name == "STATUS" {
				fn.Spec.Env[i].Value = ""
			}
		}
	})
	s.within(2*time.Minute, name+" is healed", func() (bool, string) {
		fn := s.read(name)
		return fn.Status.ObservedGeneration == fn.Generation && fn.Holds(v1alpha1.ConditionReady), fmt.Sprint(fn.Status.Conditions)
	})
}

const quick = "delivery: {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S}"

// TestADeadLetterIsKeptAndRedrivenOnACluster: an event that a function never
// takes outlives the pod of the store and a time without it, and goes to that
// function alone once it is well, with its answer to the broker.
func TestADeadLetterIsKeptAndRedrivenOnACluster(t *testing.T) {
	s := newStage(t)
	s.broker("default")
	s.create(
		s.receiver("sick", "- filters: [{exact: {type: order}}]\n  "+quick, "STATUS=503", "ONLY=poison", "REPLY_TYPE=handled"),
		s.receiver("neighbour", "- filters: [{exact: {type: order}}]"),
		s.receiver("audit", "- filters: [{exact: {type: handled}}]"))
	for _, name := range []string{"sick", "neighbour", "audit"} {
		s.ready(name)
	}
	s.open("neighbour", "order")
	s.within(2*time.Minute, "the way back to the broker is open", func() (bool, string) {
		s.send("open-audit", "order")
		return len(s.received("audit")) > 0, fmt.Sprint(s.read("audit").Status.Conditions)
	})
	s.send("poisoned", "order", "--data", "poison", "--subject", "größe")
	kept := s.letter("poisoned")
	if kept.Kind != "Trigger" || !strings.HasPrefix(kept.Name, "sick-") || kept.Code != 503 || !strings.Contains(kept.Destination, "sick."+s.namespace) {
		t.Errorf("letter = %+v, want what, where and why", kept)
	}

	// Its pod is lost, and for a while there is none.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "knit-system", Name: "knit-dead-letters-0"}}
	if err := s.api.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	s.letter("poisoned", "--trigger", kept.Name, "--reason", "503", "--type", "order", "--since", "10m")
	s.store(0)
	t.Cleanup(func() { s.scaleStore(context.Background(), 1) })
	if code, _, errs := s.knit("deadletter", "list"); code == 0 || !strings.Contains(errs, "the store of dead letters does not answer") {
		t.Errorf("without the store: exit code %d, %s", code, errs)
	}
	// The broker answers when the dead letter is kept.
	sent := make(chan string, 1)
	go func() {
		code, _, errs := s.knit("event", "send", "--id", "meanwhile", "--type", "order", "--data", "poison", "--timeout", "55s")
		sent <- fmt.Sprintf("%d %s", code, errs)
	}()
	s.store(1)
	s.letter("meanwhile")
	if got := <-sent; got != "0 " {
		t.Errorf("sent while there was no store: %s", got)
	}

	// Not well yet.
	id := fmt.Sprint(kept.ID)
	if code, out, errs := s.knit("deadletter", "redrive", id); code != 1 || !strings.Contains(errs, "answered 503") || !strings.Contains(out, "failed 1") {
		t.Errorf("redrive to a sick function: exit code %d, %s %s", code, out, errs)
	}
	s.letter("poisoned")
	s.heal("sick")
	before := s.counts("neighbour")
	if code, out, errs := s.knit("deadletter", "redrive", "--trigger", kept.Name); code != 0 || !strings.Contains(out, "delivered 2, failed 0") {
		t.Fatalf("redrive: exit code %d, %s %s", code, out, errs)
	}
	if got := s.counts("sick"); got["poisoned"] != 1 || got["meanwhile"] != 1 {
		t.Errorf("the healed function got %v, want each event once, with its id", got)
	}
	s.within(time.Minute, "its answers come to the broker", func() (bool, string) {
		all := fmt.Sprint(s.received("audit"))
		return strings.Count(all, "poison") >= 2, all
	})
	if after := s.counts("neighbour"); after["poisoned"] != before["poisoned"] {
		t.Errorf("the neighbour got the event again: %v, then %v", before, after)
	}
	if left := s.letters(); len(left) != 0 {
		t.Errorf("still kept: %+v", left)
	}
}

// store scales the server that keeps dead letters, and waits for it when there
// shall be one.
func (s *stage) store(replicas int32) {
	s.t.Helper()
	if err := s.scaleStore(s.t.Context(), replicas); err != nil {
		s.t.Fatal(err)
	}
	s.within(time.Minute, "the store has its replicas", func() (bool, string) {
		var set appsv1.StatefulSet
		err := s.api.Get(s.t.Context(), storeKey, &set)
		return err == nil && set.Status.ObservedGeneration == set.Generation && set.Status.Replicas == replicas && set.Status.ReadyReplicas == replicas,
			fmt.Sprint(err, set.Status)
	})
}

var storeKey = client.ObjectKey{Namespace: "knit-system", Name: "knit-dead-letters"}

func (s *stage) scaleStore(ctx context.Context, replicas int32) error {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: storeKey.Namespace, Name: storeKey.Name}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	return s.api.Patch(ctx, set, client.RawPatch(types.MergePatchType, patch))
}

// TestEveryWayEndsAsADeadLetterOnACluster: a Trigger and a Subscription that were
// written by hand and name no sink, and a step of a Sequence, whose answer goes on
// to the next step after the redrive.
func TestEveryWayEndsAsADeadLetterOnACluster(t *testing.T) {
	s := newStage(t)
	s.deploy(s.project([]string{"sick STATUS=500 ONLY=poison REPLY_TYPE=b SUFFIX=-2", "last REPLY_TYPE=c SUFFIX=-3", "result"}, `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: flow}
spec:
  steps:
  - ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: sick}
    `+quick+`
  - ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: last}
  reply: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: result}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: placed}
spec:
  broker: default
  filters: [{exact: {type: order.placed}}]
  subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: flow}}
`))
	var broker eventingv1.Broker
	if err := s.api.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "default"}, &broker); err != nil {
		t.Fatal(err)
	}
	if d := broker.Spec.Delivery; d == nil || d.DeadLetterSink == nil || d.DeadLetterSink.URI.String() != deadletter.SinkURL {
		t.Errorf("delivery of a broker that says nothing: %+v, want the platform's dead-letter sink", d)
	}
	s.flow("open", "result", "open-2-3")
	s.send("poisoned", "order.placed", "--data", "poison")
	if l := s.letter("poisoned"); l.Kind != "Subscription" || !strings.HasPrefix(l.Name, "flow-kn-sequence-0") || l.Code != 500 {
		t.Errorf("letter of a step = %+v", l)
	}

	// The Subscription inherits the sink of its channel; it has a quick delivery
	// of its own.
	service := func(name string) *duckv1.Destination {
		return &duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: name}}
	}
	s.create(s.receiver("refuses", "", "STATUS=400"), s.channel("events"), &messagingv1.Subscription{
		ObjectMeta: s.named("by-hand"), Spec: messagingv1.SubscriptionSpec{
			Channel:    duckv1.KReference{APIVersion: "messaging.knative.dev/v1", Kind: "Channel", Name: "events"},
			Subscriber: service("refuses"),
		},
	}, &eventingv1.Trigger{ObjectMeta: s.named("by-hand"), Spec: eventingv1.TriggerSpec{
		Broker: "default", Filters: []eventingv1.SubscriptionsAPIFilter{{Exact: map[string]string{"type": "by.hand"}}}, Subscriber: *service("refuses"),
	}})
	s.ready("refuses")
	// A 400 is final: nobody tries again.
	s.within(2*time.Minute, "what a hand-written Trigger gives up is kept", func() (bool, string) {
		s.send("to-trigger", "by.hand")
		letters := s.letters("--trigger", "by-hand")
		return len(letters) > 0, fmt.Sprint(letters)
	})
	stop := s.emit("events")
	s.within(2*time.Minute, "what a hand-written Subscription gives up is kept", func() (bool, string) {
		letters := s.letters("--subscription", "by-hand", "--type", "emitted")
		return len(letters) > 0, fmt.Sprint(letters)
	})
	stop()

	s.heal("sick")
	if code, out, errs := s.knit("deadletter", "redrive", "--subscription", "flow-kn-sequence-0"); code != 0 || !strings.Contains(out, "delivered 1,") {
		t.Fatalf("redrive: exit code %d, %s %s", code, out, errs)
	}
	s.data("result", "poison-2-3")
	if code, out, errs := s.knit("deadletter", "purge", "--all"); code != 0 || strings.Contains(out, "dropped 0 ") {
		t.Errorf("purge: exit code %d, %s %s", code, out, errs)
	}
	if left := s.letters(); len(left) != 0 {
		t.Errorf("still kept: %+v", left)
	}
}

// emit has a pod send events of type "emitted" to a channel until it is stopped.
func (s *stage) emit(channel string) (stop func()) {
	s.t.Helper()
	url := fmt.Sprintf("http://%s-kn-channel.%s.svc.cluster.local", channel, s.namespace)
	pod := &corev1.Pod{ObjectMeta: s.named("emitter"), Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "emitter", Image: s.probe(), Args: []string{"emit", "emitted"}, Env: []corev1.EnvVar{{Name: "K_SINK", Value: url}}}},
	}}
	s.create(pod)
	return func() {
		s.t.Helper()
		if err := s.api.Delete(s.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
			s.t.Fatal(err)
		}
		s.within(time.Minute, "the emitter is gone", func() (bool, string) {
			err := s.api.Get(s.t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		})
	}
}

// TestTheSinkTakesNothingFromTenantsOnACluster: it believes the namespace that a
// dispatcher names, so a tenant's pod must not reach it, nor the store.
func TestTheSinkTakesNothingFromTenantsOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, address := range map[string]string{
		"sink": "knit-dead-letters.knit-system.svc.cluster.local:80", "store": "knit-dead-letter-store.knit-system.svc.cluster.local:4222",
		// What it may reach, so that the others do not fail for another reason.
		"open": "broker-ingress.knative-eventing.svc.cluster.local:80",
	} {
		s.create(&corev1.Pod{ObjectMeta: s.named(name), Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "dial", Image: s.probe(), Args: []string{"dial", address}}},
		}})
	}
	for name, want := range map[string]corev1.PodPhase{"open": corev1.PodSucceeded, "sink": corev1.PodFailed, "store": corev1.PodFailed} {
		var pod corev1.Pod
		s.within(time.Minute, "pod "+name+" ends", func() (bool, string) {
			err := s.api.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &pod)
			return err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed), fmt.Sprint(err, pod.Status.Phase)
		})
		if pod.Status.Phase != want {
			t.Errorf("a connection to the %s: pod %s, want %s", name, pod.Status.Phase, want)
		}
	}
}
