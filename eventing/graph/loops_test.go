package graph

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// trigger is a Trigger in YAML: to is KIND/NAME of the subscriber.
func trigger(name, broker, filters, to string) string {
	return fmt.Sprintf(`
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: %s}
spec: {broker: %s, filters: %s, subscriber: %s}
---`, name, broker, filters, sink(to))
}

func subscription(name, channel, to, reply string) string {
	return fmt.Sprintf(`
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: %s}
spec: {channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: %s}, subscriber: %s, reply: %s}
---`, name, channel, sink(to), sink(reply))
}

var groups = map[string]string{
	"Broker": "eventing.knative.dev/v1", "Channel": "messaging.knative.dev/v1", "Sequence": "flows.knative.dev/v1",
	"Parallel": "flows.knative.dev/v1", "Service": "serving.knative.dev/v1", "Function": "knit.dev/v1alpha1", "JobSink": "sinks.knative.dev/v1alpha1",
}

func sink(to string) string {
	kind, name, found := strings.Cut(to, "/")
	if !found {
		return "null"
	}
	return fmt.Sprintf("{ref: {apiVersion: %s, kind: %s, name: %s}}", groups[kind], kind, name)
}

// stage are the objects that the cases connect.
const stage = `
{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: a}}
---
{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}}
---
{apiVersion: messaging.knative.dev/v1, kind: Channel, metadata: {name: c}}
---
{apiVersion: knit.dev/v1alpha1, kind: Function, metadata: {name: f}}
---
{apiVersion: knit.dev/v1alpha1, kind: Function, metadata: {name: g}}
---
`

func TestLoops(t *testing.T) {
	cases := map[string]struct {
		objects string
		want    []string
		reason  string
	}{
		"a reply may be what the filter takes": {
			trigger("t", "a", "[{exact: {type: x}}]", "Function/f"),
			[]string{"Broker a → Trigger t [type = x] → Function f → Broker a"}, "no object says what f replies",
		},
		"every event": {
			trigger("t", "a", "[]", "Service/f"),
			[]string{"Broker a → Trigger t [every event] → Function f → Broker a"}, "no filter holds a reply back",
		},
		"filters that nothing passes": {
			trigger("t", "a", "[{exact: {type: x}}, {exact: {type: z}}]", "Function/f"),
			nil, "no event has two types",
		},
		"what is not judged passes": {
			trigger("t", "a", `[{exact: {type: x}}, {not: {exact: {type: x}}}, {cesql: "FALSE"}]`, "Function/f"),
			[]string{"Broker a → Trigger t [type = x, not (type = x), FALSE] → Function f → Broker a"}, "only what is certain rules a loop out",
		},
		"a subscriber that is not there": {
			trigger("t", "a", "[]", "Service/nobody"), nil, "it replies nothing",
		},
		"a sink of jobs": {
			trigger("t", "a", "[]", "JobSink/j"), nil, "it replies no event",
		},
		"two subscribers of one Broker": {
			trigger("t", "a", "[{exact: {type: x}}]", "Function/f") + trigger("u", "a", "[{exact: {type: z}}]", "Function/g"),
			[]string{
				"Broker a → Trigger t [type = x] → Function f → Broker a",
				"Broker a → Trigger u [type = z] → Function g → Broker a",
			}, "each by itself; that they can alternate is said above",
		},
		"Brokers that pass different types on": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/b") + trigger("u", "b", "[{exact: {type: z}}]", "Broker/a"),
			nil, "what is passed on keeps its type",
		},
		"Brokers that pass one type on": {
			trigger("t", "a", "[{any: [{exact: {type: x}}, {exact: {type: z}}]}]", "Broker/b") + trigger("u", "b", "[{exact: {type: z}}]", "Broker/a"),
			[]string{"Broker a → Trigger t [(type = x or type = z)] → Broker b → Trigger u [type = z] → Broker a  (unchanged, without a reply)"}, "z goes round for ever",
		},
		"Brokers that pass on by other attributes": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/b") + trigger("u", "b", "[{prefix: {source: /s}}]", "Broker/a"),
			[]string{"Broker a → Trigger t [type = x] → Broker b → Trigger u [source = /s*] → Broker a  (unchanged, without a reply)"}, "x may have that source",
		},
		"different types, and one that answers in between": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/b") + trigger("u", "b", "[{exact: {type: z}}]", "Broker/a") + trigger("v", "b", "[{exact: {type: x}}]", "Function/f"),
			[]string{"Broker b → Trigger v [type = x] → Function f → Broker b"}, "f may reply z, which nobody takes in a",
		},
		"different types, and two that answer in between": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/b") + trigger("u", "b", "[{exact: {type: z}}]", "Broker/a") +
				trigger("v", "b", "[{exact: {type: x}}]", "Function/f") + trigger("w", "a", "[{exact: {type: z}}]", "Function/g"),
			[]string{
				"Broker a → Trigger w [type = z] → Function g → Broker a",
				"Broker b → Trigger v [type = x] → Function f → Broker b",
				"Broker a → Trigger w [type = z] → Function g → Broker a → Trigger t [type = x] → Broker b → Trigger v [type = x] → Function f" +
					" → Broker b → Trigger u [type = z] → Broker a",
			}, "f may reply z, and g x",
		},
		"the way that needs no reply, and the one that does": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/b") + trigger("u", "b", "[{exact: {type: x}}]", "Broker/a") +
				trigger("v", "b", "[]", "Channel/c") + subscription("s", "c", "Function/g", "Broker/a"),
			[]string{
				"Broker a → Trigger t [type = x] → Broker b → Trigger u [type = x] → Broker a  (unchanged, without a reply)",
				"Broker a → Trigger t [type = x] → Broker b → Trigger v [every event] → Channel c → Subscription s → Function g → Broker a",
			}, "",
		},
		"a Broker that passes on to itself": {
			trigger("t", "a", "[{exact: {type: x}}]", "Broker/a"),
			[]string{"Broker a → Trigger t [type = x] → Broker a  (unchanged, without a reply)"}, "for ever",
		},
		"one Function called from two places": {
			trigger("t", "a", "[]", "Channel/c") + subscription("s", "c", "Function/f", "") + trigger("u", "b", "[]", "Function/f"),
			[]string{"Broker b → Trigger u [every event] → Function f → Broker b"}, "what it replies to the Channel's call is dropped",
		},
		"a Channel that replies to the Broker that feeds it": {
			trigger("t", "a", "[]", "Channel/c") + subscription("s", "c", "Function/f", "Broker/a"),
			[]string{"Broker a → Trigger t [every event] → Channel c → Subscription s → Function f → Broker a"}, "",
		},
		"a Subscription that replies to its Channel": {
			subscription("s", "c", "Function/f", "Channel/c"),
			[]string{"Channel c → Subscription s → Function f → Channel c"}, "",
		},
		"a Subscription without subscriber": {
			subscription("s", "c", "", "Channel/c"),
			[]string{"Channel c → Subscription s → Channel c  (unchanged, without a reply)"}, "it passes everything on",
		},
		"dead letters into the Broker that they come from": {
			strings.ReplaceAll(trigger("t", "a", "[{exact: {type: x}}]", "JobSink/j"), "subscriber:", "delivery: {deadLetterSink: "+sink("Broker/a")+"}, subscriber:"),
			[]string{"Broker a → dead letters → Broker a  (unchanged, without a reply)"}, "they have not changed, so the Trigger takes them again",
		},
		"dead letters that another Broker brings back": {
			strings.ReplaceAll(trigger("t", "a", "[{exact: {type: x}}]", "JobSink/j"), "subscriber:", "delivery: {deadLetterSink: "+sink("Broker/b")+"}, subscriber:") +
				trigger("u", "b", "[{exact: {type: x}}]", "Broker/a"),
			[]string{"Broker a → dead letters → Broker b → Trigger u [type = x] → Broker a  (unchanged, without a reply)"}, "",
		},
		"dead letters of which another Broker brings others back": {
			strings.ReplaceAll(trigger("t", "a", "[{exact: {type: x}}]", "JobSink/j"), "subscriber:", "delivery: {deadLetterSink: "+sink("Broker/b")+"}, subscriber:") +
				trigger("u", "b", "[{exact: {type: z}}]", "Broker/a"),
			nil, "they keep their type",
		},
		"a Sequence that replies to the Broker that feeds it": {
			trigger("t", "a", "[]", "Sequence/s") + `
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: s}
spec: {steps: [` + sink("Function/f") + ", " + sink("Service/g") + `], reply: ` + sink("Broker/a") + "}\n",
			[]string{"Broker a → Trigger t [every event] → Sequence s → step 1 → Function f → step 2 → Function g → Broker a"}, "",
		},
		"a Sequence with a step that replies nothing": {
			trigger("t", "a", "[]", "Sequence/s") + `
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: s}
spec: {steps: [` + sink("Function/f") + ", " + sink("Channel/c") + `], reply: ` + sink("Broker/a") + "}\n",
			nil, "a Channel only says that it took the event",
		},
		"a branch that replies to the Broker that feeds it": {
			trigger("t", "a", "[]", "Parallel/p") + `
apiVersion: flows.knative.dev/v1
kind: Parallel
metadata: {name: p}
spec:
  branches: [{subscriber: ` + sink("Function/f") + "}, {filter: " + sink("Function/g") + ", subscriber: " + sink("Function/f") + ", reply: " + sink("Broker/a") + `}]
`,
			[]string{"Broker a → Trigger t [every event] → Parallel p → branch 2 filter → Function g → branch 2 → Function f → Broker a"}, "branch 1 replies nowhere",
		},
		"a Function that is bound to the Broker that calls it": {
			trigger("t", "a", "[{exact: {type: x}}]", "Function/f") + `
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: s}
spec: {subject: {apiVersion: serving.knative.dev/v1, kind: Service, name: f}, sink: ` + sink("Broker/a") + "}\n",
			[]string{
				"Broker a → Trigger t [type = x] → Function f → Broker a",
				"SinkBinding s → Broker a → Trigger t [type = x] → Function f → SinkBinding s",
			}, "it may reply, and it may send",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := Build(parse(t, stage+c.objects))
			var got []string
			for _, l := range g.Loops {
				got = append(got, newTree(io.Discard, g).loop(l))
				if len(l.Nodes) != len(l.Edges) {
					t.Errorf("%d nodes and %d edges", len(l.Nodes), len(l.Edges))
				}
				if last := l.Edges[len(l.Edges)-1]; last.To != l.Nodes[0] {
					t.Errorf("the loop ends at %s, not at %s", last.To, l.Nodes[0])
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// The shortest way is found twice, without replies and with them, and listed once.
func TestOthersOfALoopAreNamed(t *testing.T) {
	g := Build(parse(t, stage+
		"{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: d}}\n---"+
		trigger("t", "a", "[]", "Broker/b")+trigger("u", "b", "[]", "Broker/a")+trigger("v", "b", "[]", "Broker/d")+trigger("w", "d", "[]", "Broker/a")+
		trigger("x", "b", "[]", "Channel/c")+subscription("s", "c", "Function/g", "Broker/a")))
	if len(g.Loops) != 1 {
		t.Fatalf("%d loops", len(g.Loops))
	}
	want := []string{"broker.eventing.knative.dev/shop/d", "channel.messaging.knative.dev/shop/c", "function.knit.dev/shop/g"}
	if diff := cmp.Diff(want, g.Loops[0].Others); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
