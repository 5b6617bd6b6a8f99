package deadletters

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// AddToScheme registers the kinds that this package reads.
func AddToScheme(s *runtime.Scheme) error {
	if err := eventingv1.AddToScheme(s); err != nil {
		return err
	}
	return messagingv1.AddToScheme(s)
}

// way is how a Trigger or Subscription delivers: to its subscriber, and the
// answer of that to whoever gets the reply.
type way struct {
	kind, name        string
	subscriber, reply string // URLs; reply may be empty
}

func (w way) String() string { return w.kind + "/" + w.name }

// ways finds them in a namespace.
type ways struct{ reader client.Reader }

// find returns the way of one object.
func (w ways) find(ctx context.Context, namespace, kind, name string) (way, error) {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	found := way{kind: kind, name: name}
	var err error
	switch kind {
	case deadletter.KindTrigger:
		var t eventingv1.Trigger
		if err = w.reader.Get(ctx, key, &t); err == nil {
			found, err = w.ofTrigger(ctx, &t)
		}
	case deadletter.KindSubscription:
		var s messagingv1.Subscription
		if err = w.reader.Get(ctx, key, &s); err == nil {
			found = ofSubscription(&s)
		}
	default:
		return found, fmt.Errorf("%q is neither %s nor %s", kind, deadletter.KindTrigger, deadletter.KindSubscription)
	}
	switch {
	case apierrors.IsNotFound(err):
		return found, fmt.Errorf("the %s %s is gone: create it again, or drop the letter with `knit deadletter purge`", kind, name)
	case err != nil:
		return found, fmt.Errorf("read the %s %s: %w", kind, name, err)
	case found.subscriber == "":
		return found, fmt.Errorf("the %s %s has no address of a subscriber; see `knit %s describe %s`", kind, name, strings.ToLower(kind), name)
	}
	return found, nil
}

func (w ways) ofTrigger(ctx context.Context, t *eventingv1.Trigger) (way, error) {
	found := way{kind: deadletter.KindTrigger, name: t.Name, subscriber: text(t.Status.SubscriberURI)}
	var broker eventingv1.Broker
	key := client.ObjectKey{Namespace: t.Namespace, Name: t.Spec.Broker}
	if ref := t.Spec.BrokerRef; ref != nil {
		// Knative has seen to it that the Trigger may be linked to this broker.
		key = client.ObjectKey{Namespace: cmp.Or(ref.Namespace, t.Namespace), Name: ref.Name}
	}
	if err := w.reader.Get(ctx, key, &broker); err != nil {
		return found, client.IgnoreNotFound(err)
	}
	if broker.Status.Address != nil {
		found.reply = text(broker.Status.Address.URL)
	}
	return found, nil
}

// ofSubscription reads what Knative resolved. Without a subscriber the event
// itself goes to whoever gets the reply.
func ofSubscription(s *messagingv1.Subscription) way {
	to := s.Status.PhysicalSubscription
	found := way{kind: deadletter.KindSubscription, name: s.Name, subscriber: text(to.SubscriberURI), reply: text(to.ReplyURI)}
	if found.subscriber == "" {
		found.subscriber, found.reply = found.reply, ""
	}
	return found
}

func text(u *apis.URL) string {
	if u == nil {
		return ""
	}
	return strings.TrimSuffix(u.String(), "/")
}

// blame finds who failed to deliver an event to a destination. A dead letter of
// Knative names the destination and the namespace only.
type blame struct{ ways ways }

// find returns nothing when it is not certain. Objects that would send the event
// the same way again are as good as one.
func (b blame) find(ctx context.Context, namespace string, letter deadletter.Letter, e *event.Event, fromBroker bool) (kind, name string) {
	suspects, err := b.suspects(ctx, namespace, strings.TrimSuffix(letter.Destination, "/"), e, fromBroker)
	if err != nil {
		klog.FromContext(ctx).Error(err, "It is not known which Trigger or Subscription gave an event up", "namespace", namespace, "destination", letter.Destination)
		return "", ""
	}
	if len(suspects) == 0 || slices.ContainsFunc(suspects, func(w way) bool {
		return w.subscriber != suspects[0].subscriber || w.reply != suspects[0].reply
	}) {
		return "", ""
	}
	return suspects[0].kind, suspects[0].name
}

// suspects are, in the order of their names, the Triggers that send such an event
// to the destination, or the Subscriptions. Only some brokers mark what they
// pass on, so that an event without a mark may be of a Trigger, too.
func (b blame) suspects(ctx context.Context, namespace, destination string, e *event.Event, fromBroker bool) ([]way, error) {
	if destination == "" {
		return nil, nil
	}
	if !fromBroker {
		if found, err := b.subscriptions(ctx, namespace, destination); err != nil || len(found) > 0 {
			return found, err
		}
	}
	return b.triggers(ctx, namespace, destination, e)
}

func (b blame) triggers(ctx context.Context, namespace, destination string, e *event.Event) ([]way, error) {
	var list eventingv1.TriggerList
	if err := b.ways.reader.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list Triggers: %w", err)
	}
	var found []way
	for i := range list.Items {
		w, err := b.ways.ofTrigger(ctx, &list.Items[i])
		if err != nil {
			return nil, err
		}
		if w.leadsTo(destination) && passes(ctx, &list.Items[i], e) {
			found = append(found, w)
		}
	}
	slices.SortFunc(found, byName)
	return found, nil
}

func (b blame) subscriptions(ctx context.Context, namespace, destination string) ([]way, error) {
	var list messagingv1.SubscriptionList
	if err := b.ways.reader.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list Subscriptions: %w", err)
	}
	var found []way
	for i := range list.Items {
		// Those of a broker are its Triggers.
		if w := ofSubscription(&list.Items[i]); !ofBroker(&list.Items[i]) && w.leadsTo(destination) {
			found = append(found, w)
		}
	}
	slices.SortFunc(found, byName)
	return found, nil
}

func byName(a, b way) int { return strings.Compare(a.name, b.name) }

func (w way) leadsTo(destination string) bool {
	return destination == w.subscriber || destination == w.reply
}

func ofBroker(s *messagingv1.Subscription) bool {
	return slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == deadletter.KindTrigger })
}

// passes tells whether a Trigger wants an event, as Knative decides it.
func passes(ctx context.Context, t *eventingv1.Trigger, e *event.Event) bool {
	var filter eventfilter.Filter
	switch {
	case len(t.Spec.Filters) > 0:
		filter = subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), t.Spec.Filters)
	case t.Spec.Filter != nil:
		filter = attributes.NewAttributesFilter(t.Spec.Filter.Attributes)
	default:
		return true
	}
	defer filter.Cleanup()
	return filter.Filter(ctx, *e) != eventfilter.FailFilter
}
