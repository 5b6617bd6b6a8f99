package graph

import (
	"fmt"
	"io"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// large are functions on ten Brokers that share them, and Triggers, most of
// which name a type. Each tenth passes events on to the next Broker.
func large(functions, triggers int) Objects {
	var o Objects
	for i := range functions {
		o.Functions = append(o.Functions, v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("function-%d", i)}})
	}
	for i := range 10 {
		o.Brokers = append(o.Brokers, eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("broker-%d", i)}})
	}
	for i := range triggers {
		ref := &duckv1.KReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: fmt.Sprintf("function-%d", i%functions)}
		if i%10 == 0 {
			ref = &duckv1.KReference{APIVersion: "eventing.knative.dev/v1", Kind: "Broker", Name: fmt.Sprintf("broker-%d", (i/10+1)%10)}
		}
		t := eventingv1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("trigger-%d", i)}}
		t.Spec = eventingv1.TriggerSpec{Broker: fmt.Sprintf("broker-%d", i/10%10), Subscriber: duckv1.Destination{Ref: ref}}
		if i%7 != 0 {
			t.Spec.Filters = []eventingv1.SubscriptionsAPIFilter{{Exact: map[string]string{"type": fmt.Sprintf("type-%d", i%500)}}}
		}
		o.Triggers = append(o.Triggers, t)
	}
	return o
}

// BenchmarkGraph builds and writes the graph of 1,000 functions and 3,000
// Triggers.
func BenchmarkGraph(b *testing.B) {
	o := large(1000, 3000)
	writers := []struct {
		name  string
		write func(io.Writer, *Graph) error
	}{{"build", nil}, {"text", Text}, {"json", JSON}, {"dot", DOT}, {"mermaid", Mermaid}}
	for _, w := range writers {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				g := Build(o)
				if w.write == nil {
					continue
				}
				if err := w.write(io.Discard, g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestALargeGraphIsWhole(t *testing.T) {
	g := Build(large(1000, 3000))
	if len(g.Nodes) != 1010 || len(g.Loops) < 2700 {
		t.Errorf("%d nodes, %d loops", len(g.Nodes), len(g.Loops))
	}
	if replies := 2700; len(g.Edges) != 3000+replies {
		t.Errorf("%d edges", len(g.Edges))
	}
}
