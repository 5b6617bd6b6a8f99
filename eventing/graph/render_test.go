package graph

import (
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

var renderers = map[string]func(io.Writer, *Graph) error{"txt": Text, "json": JSON, "dot": DOT, "mmd": Mermaid}

func TestRenderersWriteWhatTheyWrote(t *testing.T) {
	g := Build(shop(t))
	for name, write := range renderers {
		t.Run(name, func(t *testing.T) {
			got, file := written(t, write, g), "testdata/shop."+name
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("go test -update writes it anew (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrderOfObjectsDoesNotMatter(t *testing.T) {
	want := written(t, JSON, Build(shop(t)))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		o := shop(t)
		shuffle(random, o.Functions)
		shuffle(random, o.Brokers)
		shuffle(random, o.Triggers)
		shuffle(random, o.Subscriptions)
		shuffle(random, o.InMemoryChannels)
		shuffle(random, o.Sources)
		shuffle(random, o.Targets)
		if diff := cmp.Diff(want, written(t, JSON, Build(o))); diff != "" {
			t.Fatalf("in another order (-want +got):\n%s", diff)
		}
	}
}

func shuffle[T any](r *rand.Rand, items []T) {
	r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
}

func TestJSONIsTheModel(t *testing.T) {
	g := Build(shop(t))
	var back Graph
	if err := json.Unmarshal([]byte(written(t, JSON, g)), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*g, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// hostile is a graph in which every text is s.
func hostile(s string) *Graph {
	by := &Object{APIVersion: s, Kind: s, Namespace: s, Name: s}
	bad := Health{State: State(s), Reason: s}
	node := func(id string, class Class) Node {
		return Node{ID: id, Class: class, APIVersion: s, Kind: s, Namespace: s, Name: s, Health: bad, Address: s}
	}
	edges := []Edge{
		{From: "a", To: s, Role: Delivers, Label: s, Types: []string{s}, By: by, Health: &bad},
		{From: s, To: "a", Role: Replies, Label: s, By: by, Health: &bad},
		{From: "a", To: s, Role: DeadLetters, Label: s},
		{From: "a", To: "a", Role: Steps, Label: s},
		{From: s, To: "nowhere" + s, Role: Role(s), Label: s},
	}
	return &Graph{
		APIVersion: s, Kind: s, Namespace: "ns", Nodes: []Node{node("a", Broker), node(s, Function), node("c", Class(s))}, Edges: edges,
		Loops:   []Loop{{Nodes: []string{"a", s}, Edges: edges, Others: []string{s, "absent" + s}}},
		Omitted: []Omission{{Kind: s, Reason: s}},
	}
}

// The lines that the drawings may consist of. Between quotes, DOT allows quotes
// and backslashes only behind a backslash, Mermaid neither nor its markup.
var (
	dotLine = regexp.MustCompile(`^(digraph events \{|  rankdir=LR;|  (node|edge) \[fontname="sans-serif"\];|\}|` +
		`  n\d+( -> n\d+)? \[(shape|style)=[a-z]+, label="([^"\\]|\\["\\n])*"(, color="#[0-9a-f]{6}")?\];)$`)
	mermaidLine = regexp.MustCompile("^(flowchart LR|  style n\\d+ stroke:#[0-9a-f]{6}|" +
		"  n\\d+[\\[(]{1,2}\"" + plain + "\"[\\])]{1,2}|  n\\d+ (-->|==>|-\\.->|-\\.-x)(\\|\"" + plain + "\"\\|)? n\\d+)$")
)

const plain = `([\pL\p{Nd} ./:=,-]|#\d+;|<br/>)*`

func checkHostile(t *testing.T, s string) {
	t.Helper()
	g := hostile(s)
	for name, write := range renderers {
		out := written(t, write, g)
		for _, r := range out {
			if r != '\n' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) {
				t.Fatalf("%s holds %U for %q", name, r, s)
			}
		}
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if name == "dot" && !dotLine.MatchString(line) || name == "mmd" && !mermaidLine.MatchString(line) {
				t.Fatalf("%s has the line %q for %q", name, line, s)
			}
		}
		if name == "json" && !json.Valid([]byte(out)) {
			t.Fatalf("no JSON for %q:\n%s", s, out)
		}
	}
	// As many lines as for a harmless text: no text can begin a line.
	for name, write := range renderers {
		if got, want := strings.Count(written(t, write, g), "\n"), strings.Count(written(t, write, hostile("x")), "\n"); s != "" && s != "a" && s != "c" && got != want {
			t.Fatalf("%s has %d lines, want %d for %q", name, got, want, s)
		}
	}
}

var nasty = []string{
	`"`, `\`, `\"`, `"];evil[label="`, "a\nb", "\r\n", "\x1b[31mred", "\x1b]0;title\x07", "\u009b31m", "\x7f", "\u202egnp.exe", "\u2028", "\u200b",
	"\xff\xfe", "`**bold**`", "%%{init: {'theme':'dark'}}%%", `"]; click n0 "javascript:alert(1)"`, "<script>", "#quot;", "&quot;", `\N\G\l`, "end", "|x|", "\U0001f600\U000e0001",
}

func TestNoTextLeavesItsPlace(t *testing.T) {
	for _, s := range nasty {
		checkHostile(t, s)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		checkHostile(t, randomText(random))
	}
}

// Graphviz reads entities in labels, Mermaid its own.
func TestEntitiesAreTexts(t *testing.T) {
	const text = `a&lt;b #35; "q" \n`
	if got, want := dotText(text), `"a&amp;lt;b #35; \"q\" \\n"`; got != want {
		t.Errorf("DOT %s, want %s", got, want)
	}
	if got, want := mermaidText(text), `"a#38;lt#59;b #35;35#59; #34;q#34; #92;n"`; got != want {
		t.Errorf("Mermaid %s, want %s", got, want)
	}
}

// randomText is made of what is special somewhere, of bytes and of any runes.
func randomText(r *rand.Rand) string {
	var out strings.Builder
	for range r.IntN(12) {
		switch r.IntN(3) {
		case 0:
			out.WriteString(nasty[r.IntN(len(nasty))])
		case 1:
			out.WriteByte(byte(r.IntN(256)))
		default:
			out.WriteRune(rune(r.IntN(unicode.MaxRune + 1)))
		}
	}
	return out.String()
}

func FuzzRenderers(f *testing.F) {
	for _, s := range nasty {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkHostile(t, s) })
}
