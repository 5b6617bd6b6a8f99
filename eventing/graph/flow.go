package graph

import "slices"

// vertex is a place on the way of an event: in a node, at one of the gates of
// a Broker, or at a subscriber on behalf of one Trigger. The same Function is
// several places: what it replies goes back to whoever called it.
type vertex int

// arc is a way from one vertex to another; edge is nil when both are places of
// the same node.
type arc struct {
	to   vertex
	edge *edge
}

// flow is the graph of the ways that events can take.
//
// A Broker has three kinds of gates. An event of any type comes to its node;
// from there it may have any type that a Trigger names. An event whose type is
// certain comes to the gate of that type, which leads to the Triggers that name
// it and to the open gate, where those are that do not limit types.
type flow struct {
	arcs  [][]arc
	node  []*entry // of each vertex
	call  []bool   // the vertex is a subscriber on behalf of one delivery
	place map[*entry]vertex
	open  map[*entry]vertex
	typed map[gate]vertex
	self  [][]*edge // ways that lead from a node straight back to it
}

type gate struct {
	broker *entry
	name   string
}

func newFlow(routes []route) *flow {
	f := &flow{place: map[*entry]vertex{}, open: map[*entry]vertex{}, typed: map[gate]vertex{}}
	for _, r := range routes {
		f.route(r)
	}
	return f
}

func (f *flow) vertex(e *entry) vertex {
	f.node, f.call, f.arcs = append(f.node, e), append(f.call, false), append(f.arcs, nil)
	return vertex(len(f.node) - 1)
}

func (f *flow) arc(from []vertex, to vertex, e *edge) {
	for _, v := range from {
		f.arcs[v] = append(f.arcs[v], arc{to, e})
	}
}

// at is the vertex of an entry, for events of any type.
func (f *flow) at(e *entry) vertex {
	v, found := f.place[e]
	if !found {
		v = f.vertex(e)
		f.place[e] = v
	}
	return v
}

// openGate is where a Broker's Triggers are that do not limit types.
func (f *flow) openGate(broker *entry) vertex {
	v, found := f.open[broker]
	if !found {
		v = f.vertex(broker)
		f.open[broker] = v
		f.arc([]vertex{f.at(broker)}, v, nil)
	}
	return v
}

func (f *flow) typedGate(broker *entry, name string) vertex {
	v, found := f.typed[gate{broker, name}]
	if !found {
		v = f.vertex(broker)
		f.typed[gate{broker, name}] = v
		f.arc([]vertex{f.at(broker)}, v, nil)
		f.arc([]vertex{v}, f.openGate(broker), nil)
	}
	return v
}

// exits are where events of these types leave an entry.
func (f *flow) exits(e *entry, types typeSet) []vertex {
	switch {
	case e.class != Broker:
		return []vertex{f.at(e)}
	case !types.limited:
		return []vertex{f.openGate(e)}
	}
	return f.entrances(e, types)
}

// entrances are where events of these types come to an entry.
func (f *flow) entrances(e *entry, types typeSet) []vertex {
	if e.class != Broker || !types.limited {
		return []vertex{f.at(e)}
	}
	var gates []vertex
	for _, name := range types.types {
		gates = append(gates, f.typedGate(e, name))
	}
	return gates
}

// route adds what a route lets events do. A step that cannot reply ends it, and
// passes the event on as it came; one that is not there ends it altogether.
func (f *flow) route(r route) {
	exits := f.exits(r.from, r.types)
	f.dead(r, exits)
	if len(exits) == 0 || len(r.steps) == 0 {
		return
	}
	here := exits
	for i, step := range r.steps {
		switch {
		case step.to.health.State == Missing:
			return
		case !replies(step.to) && i == 0 && step.to == r.from:
			f.self = append(f.self, r.steps[:1])
			return
		case !replies(step.to):
			f.pass(here, step, r.types) // Only Triggers limit types, and they have one step.
			return
		}
		here = []vertex{f.callOf(here, step)}
	}
	if r.reply == nil {
		return
	}
	f.arc(here, f.at(r.reply.to), r.reply)
	if r.reply.to == r.from {
		f.self = append(f.self, append(slices.Clone(r.steps), r.reply))
	}
}

// callOf is a vertex for a step's subscriber, which may also send to what it is
// bound to.
func (f *flow) callOf(from []vertex, step *edge) vertex {
	call := f.vertex(step.to)
	f.call[call] = true
	f.arc(from, call, step)
	f.arc([]vertex{call}, f.at(step.to), nil)
	return call
}

// unchanged is the flow without subscribers that reply: what goes round in it
// does so as it is.
func (f *flow) unchanged() *flow {
	part := &flow{node: f.node, call: f.call, arcs: make([][]arc, len(f.arcs))}
	for v, arcs := range f.arcs {
		for _, a := range arcs {
			if !f.call[v] && !f.call[a.to] {
				part.arcs[v] = append(part.arcs[v], a)
			}
		}
	}
	return part
}

// dead adds where events go that were not taken: unchanged, whichever step or
// reply failed, and what is answered there is dropped.
func (f *flow) dead(r route, exits []vertex) {
	for _, e := range r.dead {
		if e.to == r.from && len(exits) > 0 {
			f.self = append(f.self, []*edge{e})
			continue
		}
		f.pass(exits, e, r.types)
	}
}

// pass leads an event on unchanged, each type to its own gate.
func (f *flow) pass(from []vertex, e *edge, types typeSet) {
	to := f.entrances(e.to, types)
	if len(from) == len(to) {
		for i := range to {
			f.arc(from[i:i+1], to[i], e)
		}
		return
	}
	for _, v := range to {
		f.arc(from, v, e)
	}
}
