package graph

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/pkg/tracker"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// edge is an Edge between entries.
type edge struct {
	from, to *entry
	Edge
}

// route is how events go on from an entry: through the steps, each of which is
// given what the one before replied, to where the last reply goes. Events that
// a step did not take go to dead, as they came.
type route struct {
	from  *entry
	steps []*edge
	reply *edge
	dead  []*edge
	types typeSet // what is let pass at the beginning
}

// edge adds an edge; nil when it has no end.
func (b *builder) edge(from, to *entry, role Role, label string) *edge {
	if from == nil || to == nil {
		return nil
	}
	e := &edge{from: from, to: to, Edge: Edge{Role: role, Label: printable(label)}}
	b.edges = append(b.edges, e)
	return e
}

// by says which object makes an edge.
func (e *edge) by(apiVersion, kind string, o metav1.Object, h Health) *edge {
	if e == nil {
		return nil
	}
	h.Reason = printable(h.Reason)
	e.By = &Object{APIVersion: apiVersion, Kind: kind, Namespace: printable(o.GetNamespace()), Name: printable(o.GetName())}
	e.Health = &h
	return e
}

func present(edges ...*edge) []*edge {
	var all []*edge
	for _, e := range edges {
		if e != nil {
			all = append(all, e)
		}
	}
	return all
}

// replies tells whether what an entry answers can be an event. Brokers,
// Channels and flows only say that they took one.
func replies(e *entry) bool {
	switch e.class {
	case Broker, Channel, Flow:
		return false
	}
	return e.group != "sinks.knative.dev"
}

func deadLetterSink(d *eventingduckv1.DeliverySpec) *duckv1.Destination {
	if d == nil {
		return nil
	}
	return d.DeadLetterSink
}

// defaultDeadLetters are those of a Broker or Channel, for all that its Triggers
// or Subscriptions do not say themselves.
func (b *builder) defaultDeadLetters(apiVersion, kind string, o metav1.Object, d *eventingduckv1.DeliverySpec) {
	from := b.entries[keyOf(apiVersion, kind, o.GetNamespace(), o.GetName())]
	if b.root(from) != from {
		return // What a folded Channel has, it has from its owner.
	}
	b.routes = append(b.routes, route{from: from, dead: present(b.edge(from, b.destination(deadLetterSink(d), o.GetNamespace()), DeadLetters, ""))})
}

func (b *builder) trigger(t *eventingv1.Trigger) {
	const apiVersion, kind = "eventing.knative.dev/v1", "Trigger"
	ref := duckv1.KReference{APIVersion: apiVersion, Kind: "Broker", Name: t.Spec.Broker}
	if t.Spec.BrokerRef != nil {
		ref = *t.Spec.BrokerRef
	}
	h := knativeHealth(t, t.Status.Status)
	filters := filtersOf(t.Spec)
	broker, subscriber := b.reference(ref, t.Namespace), b.destination(&t.Spec.Subscriber, t.Namespace)
	r := route{from: broker, types: passing(filters)}
	deliver := b.edge(broker, subscriber, Delivers, filterLabel(filters)).by(apiVersion, kind, t, h)
	if r.steps = present(deliver); deliver != nil {
		for _, name := range r.types.types {
			deliver.Types = append(deliver.Types, printable(name))
		}
	}
	if subscriber != nil && replies(subscriber) {
		r.reply = b.edge(subscriber, broker, Replies, "").by(apiVersion, kind, t, h)
	}
	dead := b.destination(deadLetterSink(t.Spec.Delivery), t.Namespace)
	r.dead = present(b.edge(broker, dead, DeadLetters, "").by(apiVersion, kind, t, h))
	b.routes = append(b.routes, r)
}

// subscription delivers to its subscriber; without one, straight to where
// replies go.
func (b *builder) subscription(s *messagingv1.Subscription) {
	if b.inside(s) {
		return
	}
	const apiVersion, kind = "messaging.knative.dev/v1", "Subscription"
	h := knativeHealth(s, s.Status.Status)
	channel := b.reference(s.Spec.Channel, s.Namespace)
	subscriber, reply := b.destination(s.Spec.Subscriber, s.Namespace), b.destination(s.Spec.Reply, s.Namespace)
	if subscriber == nil {
		subscriber, reply = reply, nil
	}
	dead := b.destination(deadLetterSink(s.Spec.Delivery), s.Namespace)
	b.routes = append(b.routes, route{
		from:  channel,
		steps: present(b.edge(channel, subscriber, Delivers, "").by(apiVersion, kind, s, h)),
		reply: b.edge(subscriber, reply, Replies, "").by(apiVersion, kind, s, h),
		dead:  present(b.edge(channel, dead, DeadLetters, "").by(apiVersion, kind, s, h)),
	})
}

// inside tells whether a Subscription is how a Trigger or a flow, which is
// shown itself, does its work.
func (b *builder) inside(s *messagingv1.Subscription) bool {
	ref := metav1.GetControllerOf(s)
	if ref == nil {
		return false
	}
	k := keyOf(ref.APIVersion, ref.Kind, s.Namespace, ref.Name)
	if uid, found := b.triggers[k]; found {
		return sameUID(uid, ref.UID)
	}
	owner := b.entries[k]
	return owner != nil && owner.class == Flow && sameUID(owner.uid, ref.UID)
}

func (b *builder) sequence(s *flowsv1.Sequence) {
	from := b.entries[keyOf("flows.knative.dev/v1", "Sequence", s.Namespace, s.Name)]
	r := route{from: from}
	for i := range s.Spec.Steps {
		step, label := &s.Spec.Steps[i], fmt.Sprintf("step %d", i+1)
		r.steps = append(r.steps, present(b.edge(from, b.destination(&step.Destination, s.Namespace), Steps, label))...)
		dead := b.destination(deadLetterSink(step.Delivery), s.Namespace)
		r.dead = append(r.dead, present(b.edge(from, dead, DeadLetters, label))...)
	}
	r.reply = b.edge(from, b.destination(s.Spec.Reply, s.Namespace), Replies, "")
	b.routes = append(b.routes, r)
}

func (b *builder) parallel(p *flowsv1.Parallel) {
	from := b.entries[keyOf("flows.knative.dev/v1", "Parallel", p.Namespace, p.Name)]
	for i := range p.Spec.Branches {
		branch, label := &p.Spec.Branches[i], fmt.Sprintf("branch %d", i+1)
		reply := branch.Reply
		if reply == nil {
			reply = p.Spec.Reply
		}
		filter := b.edge(from, b.destination(branch.Filter, p.Namespace), Steps, label+" filter")
		subscriber := b.edge(from, b.destination(&branch.Subscriber, p.Namespace), Steps, label)
		dead := b.destination(deadLetterSink(branch.Delivery), p.Namespace)
		b.routes = append(b.routes, route{
			from:  from,
			steps: present(filter, subscriber),
			reply: b.edge(from, b.destination(reply, p.Namespace), Replies, label),
			dead:  present(b.edge(from, dead, DeadLetters, label)),
		})
	}
}

func (b *builder) schedule(s *v1alpha1.Schedule) {
	from := b.entries[keyOf(v1alpha1.GroupVersion.String(), "Schedule", s.Namespace, s.Name)]
	label := strings.Join(s.Spec.Cron, "; ")
	if s.Spec.TimeZone != "" {
		label += " " + s.Spec.TimeZone
	}
	if s.Spec.Suspend {
		label += ", suspended"
	}
	to := b.knitDestination(s.Spec.Sink, s.Namespace)
	b.routes = append(b.routes, route{from: from, steps: present(b.edge(from, to, Delivers, shorten(label, maxLabel)))})
}

// sending is what any object that sends events has: the sink of a source, and
// the subject that a SinkBinding gives one to.
type sending struct {
	Spec struct {
		Sink    *duckv1.Destination `json:"sink,omitempty"`
		Subject *tracker.Reference  `json:"subject,omitempty"`
	} `json:"spec,omitempty"`
}

// sends adds what the spec of a source or a target says.
func (b *builder) sends(e *entry) {
	var s sending
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(e.object.Object, &s); err != nil {
		if e.class == Source {
			e.health = Health{State: Unknown, Reason: reasonBadSpec}
		}
		return
	}
	to := b.destination(s.Spec.Sink, e.namespace)
	b.routes = append(b.routes, route{from: e, steps: present(b.edge(e, to, Delivers, ""))})
	if subject := s.Spec.Subject; subject != nil && subject.Name != "" && e.kind == "SinkBinding" {
		ref := duckv1.KReference{APIVersion: subject.APIVersion, Kind: subject.Kind, Name: subject.Name}
		from := b.reference(ref, e.namespace)
		b.routes = append(b.routes, route{from: from, steps: present(b.edge(from, e, Delivers, ""))})
	}
}
