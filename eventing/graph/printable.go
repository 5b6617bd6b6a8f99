package graph

import (
	"fmt"
	"strings"
	"unicode"
)

// printable replaces everything that does not show by itself, such as control
// characters, line breaks and marks that change the direction of writing, by
// its code. A terminal then shows what is there, and a line stays a line.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !shows(r) }) < 0 {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		if shows(r) {
			out.WriteRune(r)
			continue
		}
		fmt.Fprintf(&out, `\u%04x`, r)
	}
	return out.String()
}

func shows(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }

// shorten cuts a text to a number of characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
