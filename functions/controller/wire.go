package controller

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// wire makes the objects that bring the Function its events, and then removes
// its others: in between both deliver, rather than none.
func (r *Reconciler) wire(ctx context.Context, fn *v1alpha1.Function) error {
	wanted, err := r.wiring.Objects(fn)
	if err != nil {
		fn.Set(v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	missing, err := r.missingOrigin(ctx, fn)
	if err != nil {
		return err
	}
	states, outcome := r.applyWires(ctx, fn, wanted)
	if err := r.unwire(ctx, fn, wanted); err != nil {
		return err
	}
	if outcome != nil {
		return outcome
	}
	if missing != nil {
		states = append([]metav1.Condition{*missing}, states...)
	}
	c := v1alpha1.True(v1alpha1.ConditionWired, v1alpha1.ReasonNoEvents, "")
	if len(wanted) > 0 {
		c = wired(states)
	}
	fn.Set(c)
	if slices.ContainsFunc(states, func(c metav1.Condition) bool { return c.Reason == v1alpha1.ReasonSourceNotFound }) {
		return reconcile.Wait(c.Message, retryUninstalled)
	}
	return nil
}

// applyWires applies the objects and returns the state of each. An outcome ends
// it: it has set the condition, and the next look begins anew.
func (r *Reconciler) applyWires(ctx context.Context, fn *v1alpha1.Function, wanted []client.Object) ([]metav1.Condition, error) {
	states := make([]metav1.Condition, 0, len(wanted))
	ready := map[string]bool{}
	for _, obj := range wanted {
		source, isSource := obj.(*unstructured.Unstructured)
		if isSource {
			fault, err := r.admitSource(ctx, fn, source)
			if err != nil {
				return nil, err
			}
			if fault == nil {
				fault = awaitsChannel(source, ready)
			}
			if fault != nil {
				states = append(states, *fault)
				continue
			}
		}
		stored, err := r.applyWire(ctx, fn, obj)
		if err != nil {
			return nil, err
		}
		if isSource && r.watchSources != nil {
			if err := r.watchSources(source.GroupVersionKind()); err != nil {
				return nil, fmt.Errorf("watch %s: %w", source.GetKind(), err)
			}
		}
		state := wireState(stored)
		ready[wireKey(obj)] = state.Status == metav1.ConditionTrue
		states = append(states, state)
	}
	return states, nil
}

// applyWire returns the object as it is stored; it writes only what is not yet
// as it is wanted.
func (r *Reconciler) applyWire(ctx context.Context, fn *v1alpha1.Function, obj client.Object) (client.Object, error) {
	wanted, err := reconcile.Wanted(obj)
	if err != nil {
		return nil, err
	}
	key, existing := client.ObjectKeyFromObject(obj), obj.DeepCopyObject().(client.Object)
	err = r.client.Get(ctx, key, existing)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, refuse(fn, v1alpha1.ConditionWired, forbiddenSource(obj, fmt.Errorf("read %s %s: %w", r.kind(obj), key, err)))
	}
	if err == nil && !reconcile.Owns(fn, existing) {
		err := fmt.Errorf("the %s %s is there and not of this Function; delete it", r.kind(obj), key)
		fn.Set(v1alpha1.False(v1alpha1.ConditionWired, v1alpha1.ReasonNameTaken, err.Error()))
		return nil, err
	}
	if err == nil && r.applied.Holds(existing, wanted) {
		return existing, nil
	}
	if err := reconcile.Apply(ctx, r.client, fn, obj); err != nil {
		return nil, refuse(fn, v1alpha1.ConditionWired, forbiddenSource(obj, err))
	}
	r.applied.Note(obj, wanted)
	return obj, nil
}

// wireKey names an object among those of one Function.
func wireKey(obj client.Object) string { return fmt.Sprintf("%T/%s", obj, obj.GetName()) }

// kind is the kind of an object that the scheme knows or that says it.
func (r *Reconciler) kind(obj client.Object) string {
	gvk, err := apiutil.GVKForObject(obj, r.client.Scheme())
	if err != nil {
		return "object"
	}
	return gvk.Kind
}

// unwire deletes what this Function made and no longer wants: first sources, so
// that they send nothing into a Channel that goes.
func (r *Reconciler) unwire(ctx context.Context, fn *v1alpha1.Function, wanted []client.Object) error {
	keep := map[string]bool{}
	for _, obj := range wanted {
		keep[r.kind(obj)+"/"+obj.GetName()] = true
	}
	made, err := r.sourcesOf(ctx, fn)
	if err != nil {
		return err
	}
	typed, err := r.typedWiresOf(ctx, fn)
	if err != nil {
		return err
	}
	for _, obj := range append(made, typed...) {
		if keep[r.kind(obj)+"/"+obj.GetName()] || !reconcile.Owns(fn, obj) || !obj.GetDeletionTimestamp().IsZero() {
			continue
		}
		uid := obj.GetUID()
		if err := client.IgnoreNotFound(r.client.Delete(ctx, obj, client.Preconditions{UID: &uid})); err != nil {
			return fmt.Errorf("delete %s %s/%s: %w", r.kind(obj), obj.GetNamespace(), obj.GetName(), err)
		}
	}
	forgetSourceKinds(fn, wanted, made)
	return nil
}

// typedWiresOf are the objects with the label of a Function, without sources.
func (r *Reconciler) typedWiresOf(ctx context.Context, fn *v1alpha1.Function) ([]client.Object, error) {
	var (
		triggers      eventingv1.TriggerList
		subscriptions messagingv1.SubscriptionList
		channels      messagingv1.ChannelList
		objects       []client.Object
	)
	for _, list := range []client.ObjectList{&triggers, &subscriptions, &channels} {
		err := r.client.List(ctx, list, client.InNamespace(fn.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: fn.Name})
		if err != nil {
			return nil, fmt.Errorf("list %T of Function %s/%s: %w", list, fn.Namespace, fn.Name, err)
		}
	}
	for i := range triggers.Items {
		objects = append(objects, &triggers.Items[i])
	}
	for i := range subscriptions.Items {
		objects = append(objects, &subscriptions.Items[i])
	}
	for i := range channels.Items {
		objects = append(objects, &channels.Items[i])
	}
	return objects, nil
}

// missingOrigin is about the first Broker or Channel that is named and not
// there; nil when all are. The default Broker is made where the platform allows
// that.
func (r *Reconciler) missingOrigin(ctx context.Context, fn *v1alpha1.Function) (*metav1.Condition, error) {
	for _, event := range fn.Spec.Events {
		var origin client.Object
		reason, name := v1alpha1.ReasonBrokerNotFound, event.BrokerName()
		switch {
		case event.Source != nil:
			continue
		case event.Channel != "":
			origin, reason, name = &messagingv1.Channel{}, v1alpha1.ReasonChannelNotFound, event.Channel
		default:
			origin = &eventingv1.Broker{}
		}
		key := client.ObjectKey{Namespace: fn.Namespace, Name: name}
		err := r.client.Get(ctx, key, origin)
		if err == nil {
			continue
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read %s %s: %w", r.kind(origin), key, err)
		}
		created, err := r.createDefaultBroker(ctx, event, key)
		if err != nil {
			return nil, err
		}
		if !created {
			c := v1alpha1.False(v1alpha1.ConditionWired, reason,
				fmt.Sprintf("%s %s is not there; create it, or name another in spec.events", r.kind(origin), key))
			return &c, nil
		}
	}
	return nil, nil
}

func (r *Reconciler) createDefaultBroker(ctx context.Context, event v1alpha1.EventSource, key client.ObjectKey) (bool, error) {
	if event.BrokerName() != v1alpha1.DefaultBroker {
		return false, nil
	}
	platform, err := r.platform(ctx)
	if err != nil || !platform.CreateDefaultBroker {
		return false, err
	}
	return true, reconcile.Apply(ctx, r.client, nil, r.wiring.DefaultBroker(key.Namespace))
}
