package deadletters

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// aCluster has the broker "default" of namespace shop, the trigger "paid" that
// sends to pay, and whatever else a test needs.
func aCluster(more ...client.Object) client.Client {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		panic(err)
	}
	objects := append([]client.Object{aBroker("default", "http://broker-ingress/shop/default"), aTrigger("paid", "http://pay.shop.svc.cluster.local")}, more...)
	return clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func aBroker(name, address string) *eventingv1.Broker {
	b := &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	b.Status.Address = &duckv1.Addressable{URL: mustURL(address)}
	return b
}

func aTrigger(name, subscriber string, types ...string) *eventingv1.Trigger {
	t := &eventingv1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: eventingv1.TriggerSpec{Broker: "default"}}
	for _, kind := range types {
		t.Spec.Filters = append(t.Spec.Filters, eventingv1.SubscriptionsAPIFilter{Exact: map[string]string{"type": kind}})
	}
	t.Status.SubscriberURI = mustURL(subscriber)
	return t
}

func aSubscription(name, subscriber, reply string, owners ...string) *messagingv1.Subscription {
	s := &messagingv1.Subscription{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	for _, kind := range owners {
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "x/v1", Kind: kind, Name: "x", UID: "x"})
	}
	s.Status.PhysicalSubscription.SubscriberURI, s.Status.PhysicalSubscription.ReplyURI = mustURL(subscriber), mustURL(reply)
	return s
}

func mustURL(text string) *apis.URL {
	if text == "" {
		return nil
	}
	u, err := apis.ParseURL(text)
	if err != nil {
		panic(err)
	}
	return u
}

func anEvent(kind string) *event.Event {
	e := event.New()
	e.SetID("a")
	e.SetSource("/test")
	e.SetType(kind)
	return &e
}

func TestWhoGaveAnEventUp(t *testing.T) {
	const ship, pay = "http://ship.shop.svc.cluster.local", "http://pay.shop.svc.cluster.local"
	legacy := aTrigger("legacy", ship)
	legacy.Spec.Filter = &eventingv1.TriggerFilter{Attributes: map[string]string{"type": "order.old"}}
	elsewhere := aTrigger("elsewhere", ship)
	elsewhere.Namespace = "bank"
	cases := map[string]struct {
		objects     []client.Object
		destination string
		kind        string
		want        string
	}{
		"the trigger of the subscriber":         {nil, pay, "order.placed", "Trigger/paid"},
		"a destination with a slash":            {nil, pay + "/", "order.placed", "Trigger/paid"},
		"its broker, which refused the answer":  {nil, "http://broker-ingress/shop/default", "order.placed", "Trigger/paid"},
		"nobody sends there":                    {nil, "http://gone.shop.svc.cluster.local", "order.placed", "/"},
		"Knative does not say":                  {nil, "", "order.placed", "/"},
		"a trigger of another namespace":        {[]client.Object{elsewhere}, ship, "order.placed", "/"},
		"the one whose filters let it pass":     {[]client.Object{aTrigger("a", ship, "order.lost"), aTrigger("b", ship, "order.placed")}, ship, "order.placed", "Trigger/b"},
		"the one whose old filter lets it pass": {[]client.Object{aTrigger("a", ship, "order.placed"), legacy}, ship, "order.old", "Trigger/legacy"},
		"two that send it the same way":         {[]client.Object{aTrigger("b", ship), aTrigger("a", ship)}, ship, "order.placed", "Trigger/a"},
		"a subscription":                        {[]client.Object{aSubscription("s", ship, "")}, ship, "x", "Subscription/s"},
		"a subscription with a reply only":      {[]client.Object{aSubscription("s", "", ship)}, ship, "x", "Subscription/s"},
		"a trigger, not its own subscription":   {[]client.Object{aTrigger("a", ship), aSubscription("s", ship, "http://other", "Trigger")}, ship, "x", "Trigger/a"},
		"two whose answers go different ways":   {[]client.Object{aSubscription("s", ship, "http://next-1"), aSubscription("t", ship, "http://next-2")}, ship, "x", "/"},
		"a trigger beside a subscription":       {[]client.Object{aTrigger("a", ship), aSubscription("s", ship, "")}, ship, "from a broker", "Trigger/a"},
		"a subscription beside a trigger":       {[]client.Object{aTrigger("a", ship), aSubscription("s", ship, "")}, ship, "x", "Subscription/s"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := blame{ways{aCluster(c.objects...)}}
			kind, found := b.find(t.Context(), "shop", deadletter.Letter{Destination: c.destination}, anEvent(c.kind), c.kind == "from a broker")
			if kind+"/"+found != c.want {
				t.Errorf("gave up: %s/%s, want %s", kind, found, c.want)
			}
		})
	}
}
