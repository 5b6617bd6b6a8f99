package controller

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// wire makes the Triggers that the Function wants and removes its others.
func (r *Reconciler) wire(ctx context.Context, fn *v1alpha1.Function) error {
	wanted, err := r.wiring.Triggers(fn)
	if err != nil {
		fn.Set(v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	if err := r.unwire(ctx, fn, wanted); err != nil {
		return err
	}
	if len(wanted) == 0 {
		fn.Set(v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonNoEvents, ""))
		return nil
	}
	missing, err := r.missingBroker(ctx, fn.Namespace, wanted)
	if err != nil {
		return err
	}
	for _, trigger := range wanted {
		if outcome := r.applyTrigger(ctx, fn, trigger); outcome != nil {
			return outcome
		}
	}
	if missing != "" {
		message := fmt.Sprintf("Broker %s/%s is not there; create it, or name another in spec.events", fn.Namespace, missing)
		fn.Set(v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonBrokerNotFound, message))
		return nil
	}
	fn.Set(wired(wanted))
	return nil
}

func (r *Reconciler) applyTrigger(ctx context.Context, fn *v1alpha1.Function, trigger *eventingv1.Trigger) error {
	key := client.ObjectKeyFromObject(trigger)
	var existing eventingv1.Trigger
	err := r.client.Get(ctx, key, &existing)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Trigger %s: %w", key, err)
	}
	if err == nil && !reconcile.Owns(fn, &existing) {
		err := fmt.Errorf("the Trigger %s is there and not of this Function; delete it", key)
		fn.Set(v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonNameTaken, err.Error()))
		return err
	}
	if err := reconcile.Apply(ctx, r.client, fn, trigger); err != nil {
		return refuse(fn, v1alpha1.ConditionWired, err)
	}
	return nil
}

// unwire deletes Triggers that this Function made and no longer wants.
func (r *Reconciler) unwire(ctx context.Context, fn *v1alpha1.Function, wanted []*eventingv1.Trigger) error {
	var triggers eventingv1.TriggerList
	err := r.client.List(ctx, &triggers, client.InNamespace(fn.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: fn.Name})
	if err != nil {
		return fmt.Errorf("list the Triggers of Function %s/%s: %w", fn.Namespace, fn.Name, err)
	}
	keep := map[string]bool{}
	for _, trigger := range wanted {
		keep[trigger.Name] = true
	}
	for i := range triggers.Items {
		trigger := &triggers.Items[i]
		if keep[trigger.Name] || !reconcile.Owns(fn, trigger) || !trigger.DeletionTimestamp.IsZero() {
			continue
		}
		if err := client.IgnoreNotFound(r.client.Delete(ctx, trigger, client.Preconditions{UID: &trigger.UID})); err != nil {
			return fmt.Errorf("delete Trigger %s/%s: %w", trigger.Namespace, trigger.Name, err)
		}
	}
	return nil
}

// missingBroker is the first Broker that is named and not there. The default one
// is made where the platform allows that.
func (r *Reconciler) missingBroker(ctx context.Context, namespace string, triggers []*eventingv1.Trigger) (string, error) {
	for _, trigger := range triggers {
		var broker eventingv1.Broker
		key := client.ObjectKey{Namespace: namespace, Name: trigger.Spec.Broker}
		err := r.client.Get(ctx, key, &broker)
		if err == nil {
			continue
		}
		if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("read Broker %s: %w", key, err)
		}
		created, err := r.createDefaultBroker(ctx, key)
		if err != nil {
			return "", err
		}
		if !created {
			return key.Name, nil
		}
	}
	return "", nil
}

func (r *Reconciler) createDefaultBroker(ctx context.Context, key client.ObjectKey) (bool, error) {
	platform, err := r.platform(ctx)
	if err != nil || key.Name != v1alpha1.DefaultBroker || !platform.CreateDefaultBroker {
		return false, err
	}
	return true, reconcile.Apply(ctx, r.client, nil, r.wiring.DefaultBroker(key.Namespace))
}

// wired sums up the Triggers as they were stored.
func wired(triggers []*eventingv1.Trigger) metav1.Condition {
	var waiting *metav1.Condition
	for _, trigger := range triggers {
		c := triggerState(trigger)
		if c.Status == metav1.ConditionFalse {
			return c
		}
		if c.Status == metav1.ConditionUnknown && waiting == nil {
			waiting = &c
		}
	}
	if waiting != nil {
		return *waiting
	}
	return v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonSucceeded, "")
}

func triggerState(trigger *eventingv1.Trigger) metav1.Condition {
	ready := trigger.Status.GetTopLevelCondition()
	if ready == nil || trigger.Status.ObservedGeneration != trigger.Generation {
		return v1alpha1.Unknown(v1alpha1.ConditionWired, v1alpha1.ReasonWiring, "waiting for Knative to take up Trigger "+trigger.Name)
	}
	about := fmt.Sprintf("Trigger %s on Broker %s: %s", trigger.Name, trigger.Spec.Broker, ready.Message)
	switch {
	case ready.IsTrue():
		return v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonSucceeded, "")
	case ready.IsFalse() && trigger.Status.GetCondition(eventingv1.TriggerConditionSubscriberResolved).IsFalse():
		// The Knative Service has no address yet; Knative looks again by itself.
		return v1alpha1.Unknown(v1alpha1.ConditionWired, v1alpha1.ReasonWiring, about)
	case ready.IsFalse() && trigger.Status.GetCondition(eventingv1.TriggerConditionBroker).IsFalse():
		// A Broker that was just made says so until its channel has an address.
		return v1alpha1.Unknown(v1alpha1.ConditionWired, reason(ready.Reason, v1alpha1.ReasonWiring), about)
	case ready.IsFalse():
		return v1alpha1.False(v1alpha1.ConditionWired, reason(ready.Reason, "NotReady"), about)
	}
	return v1alpha1.Unknown(v1alpha1.ConditionWired, reason(ready.Reason, v1alpha1.ReasonWiring), about)
}
