package eventing

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func function(t *testing.T, events string) *v1alpha1.Function {
	t.Helper()
	fn := &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hello"}}
	if err := yaml.UnmarshalStrict([]byte(events), &fn.Spec); err != nil {
		t.Fatal(err)
	}
	return fn
}

func wire(t *testing.T, fn *v1alpha1.Function) []*eventingv1.Trigger {
	t.Helper()
	triggers, err := Wire(fn)
	if err != nil {
		t.Fatal(err)
	}
	return triggers
}

// Every filter that a Function can hold must mean the same in a Trigger: the
// JSON of both is equal.
func TestFiltersBecomeKnatives(t *testing.T) {
	for name, filters := range map[string]string{
		"none":   `[]`,
		"exact":  `[{exact: {type: order.created, source: /shop}}]`,
		"prefix": `[{prefix: {type: order.}}, {suffix: {source: /eu}}]`,
		"cesql":  `[{cesql: "type LIKE 'order.%'"}]`,
		"nested": `[{any: [{all: [{exact: {type: a}}, {suffix: {type: b}}]}, {not: {prefix: {source: c}}}, {cesql: "TRUE"}]}, {not: {any: [{exact: {type: d}}]}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			triggers := wire(t, function(t, "events: [{filters: "+filters+"}]"))
			if len(triggers) != 1 {
				t.Fatalf("%d triggers", len(triggers))
			}
			var want any
			if err := yaml.Unmarshal([]byte(filters), &want); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(triggers[0].Spec.Filters)
			if err != nil {
				t.Fatal(err)
			}
			got := any([]any{})
			if string(raw) != "null" {
				if err := json.Unmarshal(raw, &got); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTriggersPassKnativesValidation(t *testing.T) {
	fn := function(t, `
events:
- filters: [{exact: {type: a}}]
  delivery: {retry: 5, backoffPolicy: exponential, backoffDelay: PT1S, deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: dead}}}
- broker: other
  delivery: {deadLetterSink: {uri: "http://dead.example/x"}}
`)
	for _, trigger := range wire(t, fn) {
		ctx := feature.ToContext(context.Background(), feature.Flags{})
		trigger.SetDefaults(ctx)
		if err := trigger.Validate(ctx); err != nil {
			t.Errorf("%s: %v", trigger.Name, err)
		}
		if ref := trigger.Spec.Subscriber.Ref; ref.Name != "hello" || ref.Namespace != "shop" || ref.Kind != "Service" {
			t.Errorf("subscriber %+v", ref)
		}
	}
}

func TestTriggerNames(t *testing.T) {
	names := func(events string) []string {
		var out []string
		for _, trigger := range wire(t, function(t, events)) {
			out = append(out, trigger.Name)
		}
		return out
	}
	one := names("events: [{broker: a}]")
	cases := map[string]struct {
		events string
		same   bool
		reason string
	}{
		"other filter":    {"events: [{broker: a, filters: [{exact: {type: x}}]}]", true, "changed in place"},
		"more events":     {"events: [{broker: a}, {broker: a}, {}]", true, "the first stays"},
		"other broker":    {"events: [{broker: b}]", false, "a Trigger's broker cannot change"},
		"default broker":  {"events: [{}]", false, "default is a broker too"},
		"other goes away": {"events: [{broker: b}, {broker: a}]", true, "brokers are counted apart"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			found := false
			seen := map[string]bool{}
			for _, n := range names(c.events) {
				found = found || n == one[0]
				if seen[n] {
					t.Errorf("%q twice", n)
				}
				seen[n] = true
				if len(n) > 63 {
					t.Errorf("%q is too long", n)
				}
			}
			if found != c.same {
				t.Errorf("the Trigger is kept: %v, want %v: %s", found, c.same, c.reason)
			}
		})
	}
	a, b := triggerName("a", "b-c", 0), triggerName("a-b", "c", 0)
	if a == b {
		t.Errorf("two functions share %q", a)
	}
}
