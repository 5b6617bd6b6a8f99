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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
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
	checkWritten(t, s, g)
	if s == "" || s == "a" || s == "c" {
		return // The text is an identity, and changes the graph.
	}
	// As many lines as for a harmless text: no text can begin a line.
	for name, write := range renderers {
		if got, want := strings.Count(written(t, write, g), "\n"), strings.Count(written(t, write, hostile("x")), "\n"); got != want {
			t.Fatalf("%s has %d lines, want %d for %q", name, got, want, s)
		}
	}
}

// checkWritten wants a graph that holds s to be written with nothing but what
// shows, and in lines of their languages.
func checkWritten(t *testing.T, s string, g *Graph) {
	t.Helper()
	for name, write := range renderers {
		out := written(t, write, g)
		if r := hidden(out); r != 0 {
			t.Fatalf("%s holds %U for %q", name, r, s)
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
}

// hidden is the first character that does not show by itself; 0 without one.
func hidden(text string) rune {
	for _, r := range text {
		if r != '\n' && (!unicode.IsPrint(r) || r == unicode.ReplacementChar) {
			return r
		}
	}
	return 0
}

// What objects say is made fit to be shown in the model already, for those who
// write it in a form of their own.
func TestNoTextOfObjectsIsHidden(t *testing.T) {
	for _, s := range nasty {
		g := Build(hostileObjects(s))
		if len(g.Edges) < 7 || len(g.Loops) == 0 {
			t.Fatalf("%d edges, %d loops for %q", len(g.Edges), len(g.Loops), s)
		}
		checkWritten(t, s, g)
		raw, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var model any
		if err := json.Unmarshal(raw, &model); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts(model) {
			if strings.Contains(text, "\n") || hidden(text) != 0 {
				t.Errorf("the model holds %q for %q", text, s)
			}
		}
	}
}

// texts are all texts in a JSON value.
func texts(value any) []string {
	var all []string
	switch v := value.(type) {
	case string:
		all = append(all, v)
	case []any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	case map[string]any:
		for _, one := range v {
			all = append(all, texts(one)...)
		}
	}
	return all
}

// hostileObjects have s wherever a text is free, or would be without a webhook.
func hostileObjects(s string) Objects {
	meta := metav1.ObjectMeta{Namespace: s, Name: s}
	status := duckv1.Status{Conditions: duckv1.Conditions{{Type: "Ready", Status: "False", Reason: s}}}
	ref := func(kind string) duckv1.Destination {
		return duckv1.Destination{Ref: &duckv1.KReference{APIVersion: s, Kind: kind, Name: s}}
	}
	t := eventingv1.Trigger{ObjectMeta: meta, Status: eventingv1.TriggerStatus{Status: status}}
	t.Spec = eventingv1.TriggerSpec{Broker: s, Subscriber: ref("A" + s), Filters: []eventingv1.SubscriptionsAPIFilter{
		{Exact: map[string]string{s: s, "type": s}}, {Prefix: map[string]string{s: s}}, {CESQL: s},
	}}
	dead := ref("B" + s)
	t.Spec.Delivery = &eventingduckv1.DeliverySpec{DeadLetterSink: &dead}
	source := unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "sources.knative.dev/v1", "kind": "C" + s, "metadata": map[string]any{"namespace": "shop", "name": s},
		"spec":   map[string]any{"sink": map[string]any{"ref": map[string]any{"apiVersion": s, "kind": "D" + s, "name": s}}},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "False", "reason": s}}},
	}}
	reply := duckv1.Destination{URI: &apis.URL{Scheme: "http", Host: "x.example.com", Path: "/" + s}}
	return Objects{
		Brokers:   []eventingv1.Broker{{ObjectMeta: meta, Status: eventingv1.BrokerStatus{Status: status}}},
		Triggers:  []eventingv1.Trigger{t},
		Sources:   []unstructured.Unstructured{source},
		Sequences: []flowsv1.Sequence{{ObjectMeta: meta, Spec: flowsv1.SequenceSpec{Steps: []flowsv1.SequenceStep{{Destination: ref("E" + s)}}, Reply: &reply}}},
		Schedules: []v1alpha1.Schedule{{ObjectMeta: meta, Spec: v1alpha1.ScheduleSpec{Cron: []string{s}, TimeZone: s, Sink: v1alpha1.Destination{URI: s}}}},
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
	// A code would be drawn as what it stands for.
	if got, want := mermaidText("\u202e"), `"#92;u202e"`; got != want {
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
