package graph

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// builder collects entries, then the edges between them. What Knative makes for
// an object, such as the channels of a Sequence, is folded into the object.
type builder struct {
	objects   Objects
	entries   map[key]*entry
	order     []*entry          // entries as they were added
	byAddress map[string]*entry // by the normal form of an address
	triggers  map[key]types.UID // those that are there
	nodes     []*entry          // entries that are shown
	pending   []*entry          // of these, those whose spec is still to be read
	edges     []*edge
	routes    []route
}

// Build makes the graph of objects, in time linear in their size.
func Build(objects Objects) *Graph {
	b := &builder{
		objects: objects, entries: map[key]*entry{}, byAddress: map[string]*entry{}, triggers: map[key]types.UID{},
	}
	b.collect()
	b.connect()
	b.sort()
	g := b.graph()
	g.Loops = b.loops()
	return g
}

func (b *builder) connect() {
	o := b.objects
	for _, x := range sorted(o.Brokers) {
		b.defaultDeadLetters("eventing.knative.dev/v1", "Broker", x, x.Spec.Delivery)
	}
	for _, x := range sorted(o.Channels) {
		b.defaultDeadLetters("messaging.knative.dev/v1", "Channel", x, x.Spec.Delivery)
	}
	for _, x := range sorted(o.InMemoryChannels) {
		b.defaultDeadLetters("messaging.knative.dev/v1", "InMemoryChannel", x, x.Spec.Delivery)
	}
	for _, t := range sorted(o.Triggers) {
		b.triggers[keyOf("eventing.knative.dev/v1", "Trigger", t.Namespace, t.Name)] = t.UID
		b.trigger(t)
	}
	for _, s := range sorted(o.Subscriptions) {
		b.subscription(s)
	}
	for _, s := range sorted(o.Sequences) {
		b.sequence(s)
	}
	for _, p := range sorted(o.Parallels) {
		b.parallel(p)
	}
	for _, s := range sorted(o.Schedules) {
		b.schedule(s)
	}
	for len(b.pending) > 0 {
		e := b.pending[0]
		b.pending = b.pending[1:]
		b.sends(e)
	}
}

// classes in the order in which nodes are listed.
var classes = []Class{Source, Broker, Channel, Flow, Function, Other}

// sort gives nodes their places; edges follow those that they come from.
func (b *builder) sort() {
	slices.SortFunc(b.nodes, func(x, y *entry) int {
		return cmp.Or(
			cmp.Compare(slices.Index(classes, x.class), slices.Index(classes, y.class)),
			cmp.Compare(x.namespace, y.namespace), cmp.Compare(x.name, y.name), cmp.Compare(x.kind, y.kind), cmp.Compare(x.group, y.group))
	})
	for i, e := range b.nodes {
		e.node = i
	}
	slices.SortStableFunc(b.edges, func(x, y *edge) int { return cmp.Compare(x.from.node, y.from.node) })
}

func (b *builder) graph() *Graph {
	g := &Graph{APIVersion: APIVersion, Kind: Kind, Namespace: b.objects.Namespace, Nodes: []Node{}, Edges: []Edge{}}
	for _, e := range b.nodes {
		node := Node{
			ID: e.id(), Class: e.class, APIVersion: printable(e.apiVersion), Kind: printable(e.kind),
			Namespace: printable(e.namespace), Name: printable(e.name),
			Health: Health{State: e.health.State, Reason: printable(e.health.Reason)},
		}
		if len(e.addresses) > 0 {
			node.Address = printable(e.addresses[0])
		}
		g.Nodes = append(g.Nodes, node)
	}
	for _, e := range b.edges {
		e.From, e.To = g.Nodes[e.from.node].ID, g.Nodes[e.to.node].ID
		g.Edges = append(g.Edges, e.Edge)
	}
	return g
}
