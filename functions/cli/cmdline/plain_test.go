package cmdline

import (
	"bytes"
	"strings"
	"testing"
)

func TestPlainTextCannotSteerATerminal(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"words stay":             {"orders for Zoë, 木", "orders for Zoë, 木"},
		"an escape sequence":     {"\x1b[2Jgone", `\x1b[2Jgone`},
		"a newline and a tab":    {"a\nb\tc", `a\nb\tc`},
		"a carriage return":      {"bad\rgood", `bad\rgood`},
		"the one-byte escape":    {"\u009b2J", `\u009b2J`},
		"the direction turned":   {"a\u202eb", `a\u202eb`},
		"bytes that are no text": {"a\xffb", `a\ufffdb`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Plain(c.text); got != c.want {
				t.Errorf("Plain(%q) = %q, want %q", c.text, got, c.want)
			}
		})
	}
}

func TestTablesShowPlainText(t *testing.T) {
	var out bytes.Buffer
	table := Table{Columns: []string{"NAME", "REASON"}, Rows: [][]string{{"a", "\x1b[31mred\nnext"}}}
	if err := table.Write(&out, Text); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("got %q, want one line for the header and one for the row, without escapes", out.String())
	}
}
