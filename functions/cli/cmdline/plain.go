package cmdline

import (
	"strconv"
	"strings"
	"unicode"
)

// Plain is text of an object in a form that a terminal only shows: whoever wrote
// the object must not move the cursor, colour or hide what else is on the screen.
// Control characters, invisible ones and those that turn the direction of writing
// become escapes as Go writes them, newlines and tabs too.
func Plain(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if hidden(r) {
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// hidden also covers bytes that are no UTF-8, which a range reads as U+FFFD.
func hidden(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
