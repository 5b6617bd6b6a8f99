package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/tap"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

const (
	// tapReady is how long Knative may take to make the object ready.
	tapReady = time.Minute
	tapPoll  = 250 * time.Millisecond
	// tapRemoval is how long its removal may take at the end.
	tapRemoval = 10 * time.Second
)

// tapObject is the temporary Trigger or Subscription.
type tapObject struct {
	*unstructured.Unstructured
	cluster *cmdline.Cluster
}

func (o *tapObject) String() string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// make creates the object with the caller's rights.
func (t *tapping) make(ctx context.Context, first tap.Line, filters []eventingv1.SubscriptionsAPIFilter) (*tapObject, error) {
	made, err := t.object(first.Open, filters)
	if err != nil {
		return nil, err
	}
	made.SetNamespace(t.cluster.Namespace)
	made.SetGenerateName("tap-")
	made.SetLabels(map[string]string{tap.Label: "true"})
	made.SetAnnotations(map[string]string{tap.AnnotationExpires: first.Expires.Format(time.RFC3339)})
	if err := t.cluster.Create(ctx, made, cmdline.FieldOwner); err != nil {
		return nil, explain(fmt.Errorf("watch %s: create a %s in namespace %s: %w", t.name(), made.GetKind(), t.cluster.Namespace, err))
	}
	return &tapObject{made, t.cluster}, nil
}

func (t *tapping) object(open *tap.Open, filters []eventingv1.SubscriptionsAPIFilter) (*unstructured.Unstructured, error) {
	here, err := apis.ParseURL(open.URL)
	if err != nil {
		return nil, fmt.Errorf("the function service listens at no address: %w", err)
	}
	nowhere, err := apis.ParseURL(open.Nowhere)
	if err != nil {
		return nil, fmt.Errorf("the function service names no address for what is lost: %w", err)
	}
	// Nothing is tried again, and what is lost becomes no dead letter.
	delivery := &eventingduckv1.DeliverySpec{Retry: ptr.To[int32](0), DeadLetterSink: &duckv1.Destination{URI: nowhere}}
	subscriber := duckv1.Destination{URI: here}
	if t.to.kind == targetBroker {
		return newObject(triggerKind, eventingv1.TriggerSpec{Broker: t.to.name, Filters: filters, Subscriber: subscriber, Delivery: delivery})
	}
	t.passes = passer(filters)
	channel := duckv1.KReference{APIVersion: messagingv1.SchemeGroupVersion.String(), Kind: "Channel", Name: t.to.name}
	return newObject(messagingv1.SchemeGroupVersion.WithKind("Subscription"), messagingv1.SubscriptionSpec{Channel: channel, Subscriber: &subscriber, Delivery: delivery})
}

// passer decides as a Trigger would.
func passer(filters []eventingv1.SubscriptionsAPIFilter) func(context.Context, json.RawMessage) bool {
	if len(filters) == 0 {
		return nil
	}
	filter := subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), filters)
	return func(ctx context.Context, raw json.RawMessage) bool {
		e, err := decode(raw)
		return err == nil && filter.Filter(ctx, e.Event) != eventfilter.FailFilter
	}
}

// await waits until Knative says that the object is ready.
func (t *tapping) await(ctx context.Context, o *tapObject) error {
	progress := cmdline.NewProgress(t.env)
	defer progress.Clear()
	for until := time.Now().Add(tapReady); ; {
		progress.Doing("waiting for %s", o)
		if err := t.cluster.Get(ctx, client.ObjectKeyFromObject(o.Unstructured), o.Unstructured); err != nil {
			return explain(fmt.Errorf("wait for %s: %w", o, err))
		}
		ready := read[shared](o.Unstructured).Status.GetCondition(apis.ConditionReady)
		if ready.IsTrue() {
			return nil
		}
		if time.Now().After(until) {
			return t.late(o, ready)
		}
		if !pause(ctx, tapPoll) {
			return ctx.Err()
		}
	}
}

func (t *tapping) late(o *tapObject, ready *apis.Condition) error {
	why := "Knative says nothing of it"
	if ready != nil {
		why = ready.Reason + ": " + ready.Message
	}
	err := cmdline.Timeout(fmt.Errorf("%s is not ready after %s: %s", o, tapReady, cmdline.Plain(why)))
	return cmdline.Advise(err, "see `knit %s describe %s -n %s`", t.to.kind, t.to.name, t.cluster.Namespace)
}

// renew lets the object stay until a time that the control plane said.
func (o *tapObject) renew(ctx context.Context, until time.Time) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{tap.AnnotationExpires: until.Format(time.RFC3339)}}})
	if err != nil {
		return err
	}
	err = o.cluster.Patch(ctx, o.Unstructured, client.RawPatch(types.MergePatchType, patch), cmdline.FieldOwner)
	switch {
	case apierrors.IsNotFound(err):
		return cmdline.Advise(fmt.Errorf("%s, by which events are watched, was removed", o), "run it again")
	case err != nil:
		return fmt.Errorf("renew %s: %w", o, err)
	}
	return nil
}

// remove removes the object, also after an interrupt. A failure is told; then the
// control plane removes it.
func (t *tapping) remove(ctx context.Context, o *tapObject) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tapRemoval)
	defer cancel()
	uid := o.GetUID()
	err := t.cluster.Delete(ctx, o.Unstructured, client.Preconditions(metav1.Preconditions{UID: &uid}))
	if client.IgnoreNotFound(err) != nil {
		fmt.Fprintf(t.env.Err, "note: %s is not removed: %v; Knit's control plane does it within %s\n", o, err, 2*tap.Life)
	}
}
