package graph

// APIVersion and Kind are what the JSON form of a Graph calls itself. Fields
// may be added under the same version; none changes its meaning or goes.
const (
	APIVersion = "graph.knit.dev/v1alpha1"
	Kind       = "EventGraph"
)

// Graph is who sends events to whom. The order of everything in it depends on
// the objects alone, not on the order in which they were listed.
type Graph struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Namespace that was looked at; empty for all of them.
	Namespace string `json:"namespace,omitempty"`
	// Nodes are what events come from, pass through and end at.
	Nodes []Node `json:"nodes"`
	// Edges are the ways between nodes.
	Edges []Edge `json:"edges"`
	// Loops are ways on which an event can lead to itself.
	Loops []Loop `json:"loops"`
	// Omitted are the kinds that could not be read: what they would add to the
	// graph is not in it.
	Omitted []Omission `json:"omitted,omitempty"`
}

// Class says what a node does with events.
type Class string

// The classes of nodes, in the order in which nodes are listed.
const (
	// Source makes events: a source of Knative or a Schedule.
	Source Class = "source"
	// Broker keeps events and delivers them to those whose Triggers match.
	Broker Class = "broker"
	// Channel keeps events and delivers them to all that are subscribed.
	Channel Class = "channel"
	// Flow is a Sequence or a Parallel.
	Flow Class = "flow"
	// Function is a Function of Knit, with the Knative Service that it owns.
	Function Class = "function"
	// Other is anything else that events are sent to, such as a Service or a URI.
	Other Class = "other"
)

// KindURI is the kind of a node that is an address and no known object.
const KindURI = "URI"

// Node is one thing that sends or takes events.
type Node struct {
	// ID names the node in this graph: kind.group/namespace/name in lower case
	// letters, as kubectl takes it without the namespace, or uri/ADDRESS.
	ID    string `json:"id"`
	Class Class  `json:"class"`
	// APIVersion of the object; empty for a URI.
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	// Name of the object, or the address of a URI.
	Name   string `json:"name"`
	Health Health `json:"health"`
	// Address that takes events, where there is one.
	Address string `json:"address,omitempty"`
}

// State is whether something does its work.
type State string

const (
	// Ready: its condition Ready is true and about its present generation.
	Ready State = "Ready"
	// NotReady: its condition Ready is false, or it is being deleted.
	NotReady State = "NotReady"
	// Unknown: its status does not say, or it was not read.
	Unknown State = "Unknown"
	// Missing: something refers to it, and it is not there.
	Missing State = "Missing"
)

// Health is the state of an object, and why.
type Health struct {
	State State `json:"state"`
	// Reason is a word; empty when the object gives none and when it is ready.
	Reason string `json:"reason,omitempty"`
}

// Role is what an edge carries.
type Role string

// The roles of edges.
const (
	// Delivers: events go from one to the other.
	Delivers Role = "delivers"
	// Steps: a flow has the other process the event.
	Steps Role = "steps"
	// Replies: what the subscriber answered goes there.
	Replies Role = "replies"
	// DeadLetters: events that could not be delivered go there.
	DeadLetters Role = "dead-letters"
)

// Edge is a way from one node to another.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Role Role   `json:"role"`
	// Label is what passes (the filters in short), when (the lines of a
	// Schedule) or which part of a flow it is.
	Label string `json:"label,omitempty"`
	// Types are the only types of events that pass, where the filters name them.
	Types []string `json:"types,omitempty"`
	// By is the object that makes the edge; absent when the object at one of its
	// ends does. A Trigger's or Subscription's delivery, its replies and its dead
	// letters are edges by the same object.
	By *Object `json:"by,omitempty"`
	// Health of that object.
	Health *Health `json:"health,omitempty"`
}

// Object names an object that makes an edge.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// Loop is a way on which an event can lead to itself. Whether it does depends
// on what subscribers reply, and no object says that: it may loop. Types of
// events are taken into account only where they are certain, which is where one
// Broker passes an event on to another.
type Loop struct {
	// Nodes in the order in which events pass them; the last leads to the first.
	Nodes []string `json:"nodes"`
	// Edges in the same order, from the first node to the first node. Inside of
	// a flow, which passes events from step to step, an edge begins at the flow.
	Edges []Edge `json:"edges"`
	// Unchanged says that no reply is needed: what passes the filters on the way
	// goes round as it is, until a Broker has passed it on too often.
	Unchanged bool `json:"unchanged,omitempty"`
	// Others are nodes that lie on further loops through these nodes. A loop of
	// one subscriber with the Broker or Channel that it replies to is listed by
	// itself, and subscribers of one Broker can lead to each other in turn.
	Others []string `json:"others,omitempty"`
}

// Omission is a kind that could not be read, and why.
type Omission struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
}
