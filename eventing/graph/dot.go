package graph

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// shapes of classes in the language of Graphviz.
var dotShapes = map[Class]string{
	Source: "cds", Broker: "cylinder", Channel: "cylinder", Flow: "component", Function: "box", Other: "ellipse",
}

// styles of roles.
var dotStyles = map[Role]string{Delivers: "solid", Steps: "bold", Replies: "dashed", DeadLetters: "dotted"}

// colours of states; what is ready has none.
var colours = map[State]string{NotReady: "#b00020", Missing: "#b00020", Unknown: "#808080"}

// colour of a node or an edge; an address, of which nothing can be known, has none.
func colour(h Health) string {
	if h == (Health{State: Unknown}) {
		return ""
	}
	return colours[h.State]
}

// DOT writes the graph in the language of Graphviz.
func DOT(w io.Writer, g *Graph) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "digraph events {")
	fmt.Fprintln(out, "  rankdir=LR;")
	fmt.Fprintln(out, `  node [fontname="sans-serif"];`)
	fmt.Fprintln(out, `  edge [fontname="sans-serif"];`)
	names := placesOf(g)
	for i, n := range g.Nodes {
		fmt.Fprintf(out, "  n%d [shape=%s, label=%s%s];\n", i, orElse(dotShapes[n.Class], "ellipse"), dotText(nodeLines(g, n)...), dotColour(n.Health))
	}
	for _, e := range g.Edges {
		from, to, ok := names.ends(e)
		if !ok {
			continue
		}
		fmt.Fprintf(out, "  n%d -> n%d [style=%s, label=%s%s];\n", from, to, orElse(dotStyles[e.Role], "solid"), dotText(edgeLines(e)...), dotEdgeColour(e))
	}
	fmt.Fprintln(out, "}")
	return out.Flush()
}

// places are the numbers by which the drawings name nodes: what an object calls
// itself is only ever a label.
type places map[string]int

func placesOf(g *Graph) places {
	p := places{}
	for i, n := range g.Nodes {
		p[n.ID] = i
	}
	return p
}

// ends are the places that an edge connects; not ok when one is no node.
func (p places) ends(e Edge) (from, to int, ok bool) {
	from, found := p[e.From]
	to, ok = p[e.To]
	return from, to, ok && found
}

// nodeLines are the label of a node in a drawing.
func nodeLines(g *Graph, n Node) []string {
	name := n.Name
	if n.Namespace != "" && n.Namespace != g.Namespace {
		name = n.Namespace + "/" + name
	}
	lines := []string{n.Kind, name}
	if n.Health.State != Ready && n.Health != (Health{State: Unknown}) {
		lines = append(lines, n.Health.String())
	}
	return lines
}

// edgeLines are the label of an edge in a drawing.
func edgeLines(e Edge) []string {
	if e.Role != Delivers {
		return []string{carries(&e)}
	}
	var lines []string
	if e.By != nil {
		lines = append(lines, e.By.Name)
	}
	if e.Label != "" {
		lines = append(lines, e.Label)
	}
	return lines
}

// dotText is a quoted string. A backslash begins an escape in labels, and an
// ampersand an entity.
func dotText(lines ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;")
	quoted := make([]string, 0, len(lines))
	for _, line := range lines {
		quoted = append(quoted, escape.Replace(printable(line)))
	}
	return `"` + strings.Join(quoted, `\n`) + `"`
}

func dotColour(h Health) string {
	if c := colour(h); c != "" {
		return fmt.Sprintf(`, color="%s"`, c)
	}
	return ""
}

func dotEdgeColour(e Edge) string {
	if e.Health == nil {
		return ""
	}
	return dotColour(*e.Health)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
