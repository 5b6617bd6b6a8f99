package graph

import (
	"cmp"
	"slices"
)

// loops finds the ways on which events can lead to themselves: those of one
// subscriber that replies to where it was called from one by one, and of each
// set of vertices that lead to each other a shortest one, first without any
// reply and then with them.
func (b *builder) loops() []Loop {
	f := newFlow(b.routes)
	loops := []Loop{}
	for _, way := range f.self {
		loops = append(loops, loopOf(way, nil))
	}
	for _, part := range []*flow{f.unchanged(), f} {
		for _, component := range part.components() {
			way := part.shortest(component)
			if way == nil {
				continue
			}
			loop := loopOf(way, part.nodesOf(component))
			loop.Unchanged = part != f
			loops = append(loops, loop)
		}
	}
	slices.SortStableFunc(loops, func(x, y Loop) int {
		return cmp.Or(cmp.Compare(len(x.Nodes), len(y.Nodes)), slices.Compare(x.Nodes, y.Nodes), compareBy(x, y))
	})
	return merge(loops)
}

// merge makes one of a way that was found without replies and with them; with
// them, there are at least as many others.
func merge(loops []Loop) []Loop {
	merged := loops[:0]
	for _, loop := range loops {
		if last := len(merged) - 1; last >= 0 && sameWay(merged[last], loop) {
			merged[last].Others = loop.Others
			continue
		}
		merged = append(merged, loop)
	}
	return merged
}

func sameWay(one, other Loop) bool {
	return slices.EqualFunc(one.Edges, other.Edges, func(x, y Edge) bool {
		return x.From == y.From && x.To == y.To && x.Role == y.Role && x.Label == y.Label && sameObject(x.By, y.By)
	})
}

func sameObject(x, y *Object) bool { return x == y || x != nil && y != nil && *x == *y }

func compareBy(x, y Loop) int {
	name := func(l Loop) string {
		for _, e := range l.Edges {
			if e.By != nil {
				return e.By.Name
			}
		}
		return ""
	}
	return cmp.Compare(name(x), name(y))
}

// loopOf is a way around, begun at the node that is listed first. Members are
// all nodes that lead to each other.
func loopOf(way []*edge, members []*entry) Loop {
	first := 0
	for i, e := range way {
		if e.to.node < way[first].to.node {
			first = i
		}
	}
	way = append(slices.Clone(way[first+1:]), way[:first+1]...)
	loop := Loop{Unchanged: len(way) == 1}
	on := map[*entry]bool{}
	for i, e := range way {
		loop.Nodes = append(loop.Nodes, way[(i+len(way)-1)%len(way)].To)
		loop.Edges = append(loop.Edges, e.Edge)
		on[e.to] = true
	}
	for _, e := range members {
		if !on[e] {
			loop.Others = append(loop.Others, e.id())
		}
	}
	return loop
}

// nodesOf are the nodes of vertices, in their order.
func (f *flow) nodesOf(component []vertex) []*entry {
	seen := map[*entry]bool{}
	var nodes []*entry
	for _, v := range component {
		if !seen[f.node[v]] {
			seen[f.node[v]] = true
			nodes = append(nodes, f.node[v])
		}
	}
	slices.SortFunc(nodes, func(x, y *entry) int { return cmp.Compare(x.node, y.node) })
	return nodes
}

// shortest is a shortest way from the first node of a component over another
// Broker, Channel, flow or sender back to it; nil when the component has none,
// since ways over subscribers alone are listed one by one.
func (f *flow) shortest(component []vertex) []*edge {
	start := slices.MinFunc(component, func(x, y vertex) int {
		return cmp.Or(cmp.Compare(f.node[x].node, f.node[y].node), cmp.Compare(x, y))
	})
	s := &search{flow: f, start: start, inside: make(map[vertex]bool, len(component)), came: map[state]step{}}
	for _, v := range component {
		s.inside[v] = true
	}
	return s.run()
}

// state is a vertex, and whether the way to it led over another node than the
// one where it began.
type state struct {
	at   vertex
	away bool
}

// step is how a state was reached.
type step struct {
	from state
	edge *edge
}

// search goes through the states of a component, nearest first.
type search struct {
	*flow
	start  vertex
	inside map[vertex]bool
	came   map[state]step
}

func (s *search) run() []*edge {
	begin, end := state{s.start, false}, state{s.start, true}
	queue := []state{begin}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, a := range s.arcs[at.at] {
			next := state{a.to, at.away || !s.call[a.to] && s.node[a.to] != s.node[s.start]}
			if _, seen := s.came[next]; seen || next == begin || !s.inside[a.to] {
				continue
			}
			s.came[next] = step{at, a.edge}
			if next == end {
				return s.way(begin, end)
			}
			queue = append(queue, next)
		}
	}
	return nil
}

func (s *search) way(begin, end state) []*edge {
	var way []*edge
	for at := end; at != begin; {
		came := s.came[at]
		if came.edge != nil {
			way = append(way, came.edge)
		}
		at = came.from
	}
	slices.Reverse(way)
	return way
}

// components are the sets of vertices that lead to each other (Tarjan's strongly
// connected components), in the order of their first vertex.
func (f *flow) components() [][]vertex {
	t := &tarjan{flow: f, number: make([]int, len(f.node)), low: make([]int, len(f.node)), waiting: make([]bool, len(f.node))}
	for v := range f.node {
		if t.number[v] == 0 {
			t.visit(vertex(v))
		}
	}
	for _, c := range t.found {
		slices.Sort(c)
	}
	slices.SortFunc(t.found, func(x, y []vertex) int { return cmp.Compare(x[0], y[0]) })
	return t.found
}

type tarjan struct {
	*flow
	count   int
	number  []int // in the order of visits, from 1; 0 is not visited
	low     []int // the lowest number that a vertex leads back to
	stack   []vertex
	waiting []bool // on the stack
	found   [][]vertex
}

func (t *tarjan) visit(v vertex) {
	t.count++
	t.number[v], t.low[v] = t.count, t.count
	t.stack, t.waiting[v] = append(t.stack, v), true
	for _, a := range t.arcs[v] {
		if t.number[a.to] == 0 {
			t.visit(a.to)
			t.low[v] = min(t.low[v], t.low[a.to])
		} else if t.waiting[a.to] {
			t.low[v] = min(t.low[v], t.number[a.to])
		}
	}
	if t.low[v] != t.number[v] {
		return
	}
	at := len(t.stack) - 1
	for t.stack[at] != v {
		at--
	}
	component := slices.Clone(t.stack[at:])
	t.stack = t.stack[:at]
	for _, w := range component {
		t.waiting[w] = false
	}
	t.found = append(t.found, component)
}
