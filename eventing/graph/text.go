package graph

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how deep the tree goes before it begins again at the left: the
// length of a line, and so the time for all of them, has a bound.
const maxDepth = 24

// Text writes the graph for people: a tree from where events begin down to
// where they end. A node's own branches are shown once; where it comes again,
// the text refers to the first place. Loops follow at the end.
func Text(w io.Writer, g *Graph) error {
	out := bufio.NewWriter(w)
	t := newTree(out, g)
	for _, id := range t.roots() {
		t.root(id)
	}
	for len(t.later) > 0 {
		id := t.later[0]
		t.later = t.later[1:]
		t.root(id)
	}
	t.loops(g.Loops)
	return out.Flush()
}

// tree writes nodes with their branches.
type tree struct {
	out       io.Writer
	graph     *Graph
	nodes     map[string]*Node
	branches  map[string][]*Edge // that a node shows below itself
	following map[delivered][]*Edge
	done      map[string]bool
	later     []string // nodes that were too deep in the tree
}

// delivered finds the replies and dead letters that belong to a delivery.
type delivered struct {
	by       Object
	from, to string
}

func newTree(out io.Writer, g *Graph) *tree {
	t := &tree{out: out, graph: g, nodes: map[string]*Node{}, branches: map[string][]*Edge{}, following: map[delivered][]*Edge{}, done: map[string]bool{}}
	for i := range g.Nodes {
		t.nodes[g.Nodes[i].ID] = &g.Nodes[i]
	}
	leading := map[Object]*Edge{}
	for i := range g.Edges {
		if e := &g.Edges[i]; e.By != nil && e.Role == Delivers {
			leading[*e.By] = e
		}
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		if e.By != nil && e.Role != Delivers {
			if d := leading[*e.By]; d != nil {
				k := delivered{*e.By, d.From, d.To}
				t.following[k] = append(t.following[k], e)
				continue
			}
		}
		t.branches[e.From] = append(t.branches[e.From], e)
	}
	return t
}

// roots are first the nodes that nothing leads to, then all others, which are
// written only when no root led to them.
func (t *tree) roots() []string {
	led := map[string]bool{}
	for _, e := range t.graph.Edges {
		if e.From != e.To && e.Role != Replies {
			led[e.To] = true
		}
	}
	var first, rest []string
	for _, n := range t.graph.Nodes {
		if led[n.ID] {
			rest = append(rest, n.ID)
			continue
		}
		first = append(first, n.ID)
	}
	return append(first, rest...)
}

func (t *tree) root(id string) {
	if t.done[id] {
		return
	}
	t.done[id] = true
	fmt.Fprintln(t.out, t.title(id)+t.health(id))
	t.children(t.branches[id], "", 1)
}

func (t *tree) children(edges []*Edge, indent string, depth int) {
	for i, e := range edges {
		branch, below := "├─ ", "│  "
		if i == len(edges)-1 {
			branch, below = "└─ ", "   "
		}
		fmt.Fprint(t.out, indent, branch, describe(e), " → ", t.title(e.To))
		next := t.next(e)
		switch {
		case t.done[e.To]:
			fmt.Fprintln(t.out, t.reference(e.To))
		case depth >= maxDepth && len(t.branches[e.To]) > 0:
			fmt.Fprintln(t.out, "  (below)")
			t.later = append(t.later, e.To)
		default:
			t.done[e.To] = true
			fmt.Fprintln(t.out, t.health(e.To))
			next = append(next, t.branches[e.To]...)
		}
		t.children(next, indent+below, depth+1)
	}
}

// next are the replies and dead letters of the delivery that an edge is.
func (t *tree) next(e *Edge) []*Edge {
	if e.By == nil || e.Role != Delivers {
		return nil
	}
	return append([]*Edge(nil), t.following[delivered{*e.By, e.From, e.To}]...)
}

// title names a node as a person does; with its namespace when the graph has
// more than one.
func (t *tree) title(id string) string {
	n := t.nodes[id]
	if n == nil {
		return printable(id)
	}
	name := n.Name
	if n.Namespace != "" && n.Namespace != t.graph.Namespace {
		name = n.Namespace + "/" + name
	}
	return printable(n.Kind + " " + name)
}

// health says what is known of a node; nothing is known of an address.
func (t *tree) health(id string) string {
	n := t.nodes[id]
	if n == nil || n.Health == (Health{State: Unknown}) {
		return ""
	}
	return "  " + n.Health.String()
}

// reference stands in place of what is shown above, if there is anything.
func (t *tree) reference(id string) string {
	if len(t.branches[id]) > 0 {
		return "  (above)"
	}
	return t.health(id)
}

var stateNames = map[State]string{Ready: "ready", NotReady: "not ready", Unknown: "unknown", Missing: "missing"}

// String is the health in words, such as "not ready: SinkNotFound".
func (h Health) String() string {
	name := stateNames[h.State]
	if name == "" {
		name = string(h.State)
	}
	if h.Reason != "" {
		name += ": " + h.Reason
	}
	return printable(name)
}

// describe says what an edge carries, without its end.
func describe(e *Edge) string {
	if e.By == nil || e.Role != Delivers {
		return printable(carries(e))
	}
	words := e.By.Kind + " " + e.By.Name
	if e.Label != "" {
		words += " [" + e.Label + "]"
	}
	if e.Health != nil && e.Health.State != Ready {
		words += " (" + e.Health.String() + ")"
	}
	return printable(words)
}

// carries is describe for edges that no Trigger or Subscription begins.
func carries(e *Edge) string {
	of := e.Label
	if of != "" {
		of = " of " + of
	}
	switch e.Role {
	case Replies:
		return "replies" + of
	case DeadLetters:
		return "dead letters" + of
	case Steps:
		return e.Label
	}
	if e.Label != "" {
		return "[" + e.Label + "]"
	}
	return "events"
}

// loopsTitle explains what a loop in the text is.
const loopsTitle = "May loop: what a subscriber replies is not known beforehand, and a loop closes when the filters let it pass.\n" +
	"Subscribers that reply to the same Broker can also lead to each other in turn."

func (t *tree) loops(loops []Loop) {
	if len(loops) == 0 {
		return
	}
	if len(t.graph.Nodes) > 0 {
		fmt.Fprintln(t.out)
	}
	fmt.Fprintln(t.out, loopsTitle)
	for _, loop := range loops {
		fmt.Fprintln(t.out, "  "+t.loop(loop))
		if len(loop.Others) > 0 {
			fmt.Fprintln(t.out, "    on further loops with these: "+t.titles(loop.Others))
		}
	}
}

func (t *tree) loop(loop Loop) string {
	var words strings.Builder
	for i, e := range loop.Edges {
		if i == 0 && len(loop.Nodes) > 0 {
			words.WriteString(t.title(loop.Nodes[0]))
		}
		words.WriteString(" → ")
		if via := passage(&e); via != "" {
			words.WriteString(via + " → ")
		}
		words.WriteString(t.title(e.To))
	}
	if loop.Unchanged {
		words.WriteString("  (unchanged, without a reply)")
	}
	return words.String()
}

// passage is what a person has to judge on the way: the filters.
func passage(e *Edge) string {
	switch {
	case e.Role == DeadLetters:
		return printable(carries(e))
	case e.Role == Steps:
		return printable(e.Label)
	case e.Role == Replies || e.By == nil:
		return ""
	case e.Label != "":
		return printable(e.By.Kind + " " + e.By.Name + " [" + e.Label + "]")
	case e.By.Kind == "Trigger":
		return printable("Trigger " + e.By.Name + " [every event]")
	}
	return printable(e.By.Kind + " " + e.By.Name)
}

func (t *tree) titles(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, t.title(id))
	}
	return strings.Join(names, ", ")
}
