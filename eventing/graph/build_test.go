package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (g *Graph) find(id string) *Node {
	i := slices.IndexFunc(g.Nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return &g.Nodes[i]
}

// Every destination in a Trigger is a node, whether it names an object of any
// kind, one that is not there, or an address.
func TestDestinations(t *testing.T) {
	const services = `
apiVersion: knit.dev/v1alpha1
kind: Function
metadata: {name: f}
status: {url: "http://f.shop.example.com", address: {url: "http://f.shop.svc.cluster.local"}}
---
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: plain}}
---
{apiVersion: v1, kind: Service, metadata: {name: core}}
---
{apiVersion: v1, kind: Service, metadata: {name: f}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: taken
  ownerReferences: [{apiVersion: knit.dev/v1alpha1, kind: Function, name: taken, uid: "1", controller: true}]
---
{apiVersion: knit.dev/v1alpha1, kind: Function, metadata: {name: taken, uid: "2"}}
---
`
	cases := map[string]struct{ destination, node, state, reason string }{
		"a Function":                       {`ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: f}`, "function.knit.dev/shop/f", "Unknown: NoStatus", ""},
		"the Service of a Function":        {`ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: f}`, "function.knit.dev/shop/f", "Unknown: NoStatus", "also when the Service was not read"},
		"another version":                  {`ref: {apiVersion: serving.knative.dev/v2, kind: Service, name: f}`, "function.knit.dev/shop/f", "Unknown: NoStatus", "versions are views of one object"},
		"the group alone":                  {`ref: {group: serving.knative.dev, kind: Service, name: f}`, "function.knit.dev/shop/f", "Unknown: NoStatus", "Knative takes it so"},
		"the Service of another Function":  {`ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: taken}`, "service.serving.knative.dev/shop/taken", "Unknown: NoStatus", "the uid of its owner is another"},
		"a Service of Knative":             {`ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: plain}`, "service.serving.knative.dev/shop/plain", "Unknown: NoStatus", ""},
		"a Service of Kubernetes":          {`ref: {apiVersion: v1, kind: Service, name: core}`, "service/shop/core", "Unknown: NoStatus", ""},
		"what leads to a Function":         {`ref: {apiVersion: v1, kind: Service, name: f}`, "function.knit.dev/shop/f", "Unknown: NoStatus", "Knative makes a Service of that name"},
		"missing":                          {`ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: absent}`, "service.serving.knative.dev/shop/absent", "Missing: ", ""},
		"missing in another namespace":     {`ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: absent, namespace: other}`, "service.serving.knative.dev/other/absent", "Unknown: NotRead", "it was not looked at"},
		"of a kind that was not listed":    {`ref: {apiVersion: sinks.knative.dev/v1alpha1, kind: JobSink, name: j}`, "jobsink.sinks.knative.dev/shop/j", "Unknown: NotRead", ""},
		"the address of a Function":        {`uri: "http://f.shop.svc.cluster.local"`, "function.knit.dev/shop/f", "Unknown: NoStatus", ""},
		"a path of it, in other spelling":  {`uri: "http://F.shop.svc:80/orders/"`, "function.knit.dev/shop/f", "Unknown: NoStatus", ""},
		"its address outside":              {`uri: "http://f.shop.example.com/"`, "function.knit.dev/shop/f", "Unknown: NoStatus", ""},
		"another port":                     {`uri: "http://f.shop.svc:8080/"`, "uri/http://f.shop.svc:8080/", "Unknown: ", "who listens there is not known"},
		"an address that belongs to none":  {`uri: "https://x.example.com/?a=1"`, "uri/https://x.example.com/?a=1", "Unknown: ", ""},
		"an address with a password in it": {`uri: "https://u:p@x.example.com"`, "uri/https://u:xxxxx@x.example.com", "Unknown: ", "a picture is soon passed on"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := Build(parse(t, services+`
{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: t}, spec: {broker: b, subscriber: {`+c.destination+"}}}\n"))
			if len(g.Edges) == 0 || g.Edges[0].To != c.node {
				t.Fatalf("edges %+v, want one to %s: %s", g.Edges, c.node, c.reason)
			}
			n := g.find(c.node)
			if got := string(n.Health.State) + ": " + n.Health.Reason; got != c.state {
				t.Errorf("health %q, want %q: %s", got, c.state, c.reason)
			}
			if broker := g.find("broker.eventing.knative.dev/shop/b"); broker == nil || broker.Health.State != Missing || broker.Class != Broker {
				t.Errorf("the Broker is not there, and the graph says %+v", broker)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	cases := map[string]struct{ status, want string }{
		"nothing":    {`{}`, "Unknown: NoStatus"},
		"ready":      {`{conditions: [{type: Other, status: "False"}, {type: Ready, status: "True", reason: Fine}]}`, "Ready: "},
		"not ready":  {`{conditions: [{type: Ready, status: "False", reason: Broken}]}`, "NotReady: Broken"},
		"on its way": {`{conditions: [{type: Ready, status: Unknown, reason: Starting}]}`, "Unknown: Starting"},
		"stale":      {`{observedGeneration: 1, conditions: [{type: Ready, status: "True"}]}`, "Unknown: NotObserved"},
		"present":    {`{observedGeneration: 2, conditions: [{type: Ready, status: "True"}]}`, "Ready: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := Build(parse(t, fmt.Sprintf(`
{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b, generation: 2}, status: %[1]s}
---
{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {name: p, generation: 2}, spec: {sink: {uri: "http://x.example.com"}}, status: %[1]s}
`, c.status)))
			for _, n := range g.Nodes[:2] {
				if got := string(n.Health.State) + ": " + n.Health.Reason; got != c.want {
					t.Errorf("%s: %q, want %q", n.Kind, got, c.want)
				}
			}
		})
	}
}

func TestASourceThatIsNotUnderstoodIsShown(t *testing.T) {
	g := Build(parse(t, `{apiVersion: sources.knative.dev/v1, kind: PingSource, metadata: {name: p}, spec: {sink: {uri: {a: b}}}}`))
	if len(g.Nodes) != 1 || g.Nodes[0].Health.Reason != reasonBadSpec || len(g.Edges) != 0 {
		t.Errorf("%+v", g)
	}
}

func TestNothingMakesAnEmptyGraph(t *testing.T) {
	got := written(t, JSON, Build(Objects{}))
	for _, want := range []string{`"nodes": []`, `"edges": []`, `"loops": []`, `"kind": "EventGraph"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	if got := written(t, Text, Build(Objects{})); got != "" {
		t.Errorf("text %q", got)
	}
}

// What Knative makes for an object is shown when the object itself was not read:
// it is then all that can be shown.
func TestOrphansAreShown(t *testing.T) {
	g := Build(parse(t, `
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata:
  name: s-kn-sequence-0
  ownerReferences: [{apiVersion: flows.knative.dev/v1, kind: Sequence, name: s, controller: true, uid: "1"}]
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata:
  name: s-kn-sequence-0
  ownerReferences: [{apiVersion: flows.knative.dev/v1, kind: Sequence, name: s, controller: true, uid: "1"}]
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, name: s-kn-sequence-0}
  subscriber: {uri: "http://x.example.com"}
`))
	if len(g.Nodes) != 2 || len(g.Edges) != 1 || g.Edges[0].By.Name != "s-kn-sequence-0" {
		t.Errorf("%+v", g)
	}
}

func TestASubscriptionWithoutSubscriberPassesEventsOn(t *testing.T) {
	g := Build(parse(t, stage+subscription("s", "c", "", "Function/f")))
	want := []Edge{{
		From: "channel.messaging.knative.dev/shop/c", To: "function.knit.dev/shop/f", Role: Delivers,
		By:     &Object{APIVersion: "messaging.knative.dev/v1", Kind: "Subscription", Namespace: "shop", Name: "s"},
		Health: &Health{State: Unknown, Reason: reasonNoStatus},
	}}
	if diff := cmp.Diff(want, g.Edges); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADeepGraphKeepsShortLines(t *testing.T) {
	var objects strings.Builder
	for i := range 200 {
		objects.WriteString(trigger(fmt.Sprintf("t%03d", i), fmt.Sprintf("b%03d", i), "[]", fmt.Sprintf("Broker/b%03d", i+1)))
	}
	text := written(t, Text, Build(parse(t, objects.String())))
	for line := range strings.Lines(text) {
		if len([]rune(line)) > 3*maxDepth+120 {
			t.Fatalf("a line of %d characters", len([]rune(line)))
		}
	}
	for i := range 201 {
		if !strings.Contains(text, fmt.Sprintf("Broker b%03d", i)) {
			t.Errorf("Broker b%03d is not shown", i)
		}
	}
	if got, want := strings.Count(text, "Trigger t"), 200; got != want {
		t.Errorf("%d Triggers, want each of the %d once", got, want)
	}
}

func TestLabels(t *testing.T) {
	cases := map[string]struct {
		filters, label string
		types          []string
	}{
		"none":          {`[]`, "", nil},
		"sorted":        {`[{exact: {type: a, source: b}}]`, "source = b, type = a", []string{"a"}},
		"parts":         {`[{prefix: {type: a}}, {suffix: {type: b}}]`, "type = a*, type = *b", nil},
		"nested":        {`[{all: [{exact: {type: a}}, {not: {exact: {x: z}}}]}]`, "(type = a and not (x = z))", []string{"a"}},
		"any of two":    {`[{any: [{exact: {type: b}}, {exact: {type: a}}]}]`, "(type = b or type = a)", []string{"a", "b"}},
		"any, one open": {`[{any: [{exact: {type: b}}, {cesql: "TRUE"}]}]`, "(type = b or TRUE)", nil},
		"both":          {`[{any: [{exact: {type: b}}, {exact: {type: a}}]}, {exact: {type: a}}]`, "(type = b or type = a), type = a", []string{"a"}},
		"two dialects":  {`[{exact: {type: a}, any: [{exact: {type: b}}]}]`, "type = atype = b", nil},
		"long":          {`[{cesql: "` + strings.Repeat("x", 500) + `"}]`, strings.Repeat("x", maxLabel-1) + "…", nil},
		"many":          {`[` + strings.Repeat(`{exact: {type: a}},`, 5000) + `]`, strings.Repeat("type = a, ", 11) + "type = a,…", []string{"a"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := Build(parse(t, trigger("t", "b", c.filters, "Service/x")))
			if g.Edges[0].Label != c.label {
				t.Errorf("label %q, want %q", g.Edges[0].Label, c.label)
			}
			if diff := cmp.Diff(c.types, g.Edges[0].Types); diff != "" {
				t.Errorf("types (-want +got):\n%s", diff)
			}
		})
	}
}
