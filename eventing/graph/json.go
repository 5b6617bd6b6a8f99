package graph

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// JSON writes the graph as JSON. Characters that do not show by themselves are
// written by their codes, which JSON has for all of them.
func JSON(w io.Writer, g *Graph) error {
	raw, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range string(raw) {
		if r == '\n' || shows(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	out.WriteByte('\n')
	_, err = io.WriteString(w, out.String())
	return err
}
