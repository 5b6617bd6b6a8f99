package graph

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// brackets are the shapes of classes in the language of Mermaid.
var brackets = map[Class][2]string{
	Source: {"([", "])"}, Broker: {"[(", ")]"}, Channel: {"[(", ")]"}, Flow: {"[[", "]]"}, Function: {"[", "]"}, Other: {"(", ")"},
}

// arrows are the styles of roles.
var arrows = map[Role]string{Delivers: "-->", Steps: "==>", Replies: "-.->", DeadLetters: "-.-x"}

// Mermaid writes the graph as a flowchart of Mermaid.
func Mermaid(w io.Writer, g *Graph) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "flowchart LR")
	names := placesOf(g)
	for i, n := range g.Nodes {
		shape, known := brackets[n.Class]
		if !known {
			shape = brackets[Other]
		}
		fmt.Fprintf(out, "  n%d%s%s%s\n", i, shape[0], mermaidText(nodeLines(g, n)...), shape[1])
	}
	for _, e := range g.Edges {
		from, to, ok := names.ends(e)
		if !ok {
			continue
		}
		label := ""
		if lines := edgeLines(e); len(lines) > 0 {
			label = "|" + mermaidText(lines...) + "|"
		}
		fmt.Fprintf(out, "  n%d %s%s n%d\n", from, orElse(arrows[e.Role], "-->"), label, to)
	}
	for i, n := range g.Nodes {
		if c := colour(n.Health); c != "" {
			fmt.Fprintf(out, "  style n%d stroke:%s\n", i, c)
		}
	}
	return out.Flush()
}

// mermaidText is a quoted string. Mermaid reads markup, directives and entities
// in it, so all but what is plain is written by its code.
func mermaidText(lines ...string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i, line := range lines {
		if i > 0 {
			out.WriteString("<br/>")
		}
		for _, r := range printable(line) {
			if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -./:=,", r) {
				out.WriteRune(r)
				continue
			}
			fmt.Fprintf(&out, "#%d;", r)
		}
	}
	out.WriteByte('"')
	return out.String()
}
