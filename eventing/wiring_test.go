package eventing

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

func wire(t *testing.T, fn *v1alpha1.Function) []client.Object {
	t.Helper()
	objects, err := Wire(fn)
	if err != nil {
		t.Fatal(err)
	}
	return objects
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
			objects := wire(t, function(t, "events: [{filters: "+filters+"}]"))
			if len(objects) != 1 {
				t.Fatalf("%d objects", len(objects))
			}
			var want any
			if err := yaml.Unmarshal([]byte(filters), &want); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(objects[0].(*eventingv1.Trigger).Spec.Filters)
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

// Knative's own webhook must take what is made, with the features that it has
// by default.
func TestObjectsPassKnativesValidation(t *testing.T) {
	delivery := `delivery: {retry: 5, timeout: PT3S, backoffPolicy: exponential, backoffDelay: PT1S, deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: dead}}}`
	fn := function(t, `
events:
- filters: [{exact: {type: a}}]
  `+delivery+`
- broker: other
  delivery: {deadLetterSink: {uri: "http://dead.example/x"}}
- channel: orders
  reply: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
  `+delivery+`
- source: {apiVersion: sources.knative.dev/v1, kind: PingSource, spec: {schedule: "* * * * *"}}
  `+delivery+`
`)
	kinds := map[string]int{}
	for _, obj := range wire(t, fn) {
		kinds[fmt.Sprintf("%T", obj)]++
		if obj.GetNamespace() != "shop" || obj.GetLabels()[v1alpha1.LabelFunction] != "hello" {
			t.Errorf("%T: %s, labels %v", obj, obj.GetNamespace(), obj.GetLabels())
		}
		checked, ok := obj.(interface {
			apis.Defaultable
			apis.Validatable
		})
		if !ok {
			continue
		}
		ctx := apis.WithinCreate(feature.ToContext(t.Context(), feature.Flags{feature.DeliveryTimeout: feature.Enabled}))
		checked.SetDefaults(ctx)
		if channel, ok := obj.(*messagingv1.Channel); ok {
			// Which kind of channel is the webhook's to choose.
			channel.Spec.ChannelTemplate = &messagingv1.ChannelTemplateSpec{TypeMeta: metav1.TypeMeta{APIVersion: "messaging.knative.dev/v1", Kind: "InMemoryChannel"}}
		}
		if err := checked.Validate(ctx); err != nil {
			t.Errorf("%T %s: %v", obj, obj.GetName(), err)
		}
	}
	want := map[string]int{"*v1.Trigger": 2, "*v1.Subscription": 2, "*v1.Channel": 1, "*unstructured.Unstructured": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

const service = `{"kind":"Service","namespace":"shop","name":"hello","apiVersion":"serving.knative.dev/v1"}`

func TestAChannelIsSubscribedTo(t *testing.T) {
	objects := wire(t, function(t, "events: [{channel: orders, reply: {uri: 'http://a.example/'}, delivery: {retry: 2}}]"))
	if len(objects) != 1 {
		t.Fatalf("objects %v", objects)
	}
	got, err := json.Marshal(objects[0].(*messagingv1.Subscription).Spec)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"channel":{"kind":"Channel","name":"orders","apiVersion":"messaging.knative.dev/v1"},"subscriber":{"ref":` + service + `},"reply":{"uri":"http://a.example/"},"delivery":{"deadLetterSink":{"uri":"http://knit-dead-letters.knit-system.svc"},"retry":2}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASourceSendsToTheFunction(t *testing.T) {
	const ping = "source: {apiVersion: sources.knative.dev/v1, kind: PingSource, spec: {schedule: '* * * * *', data: x}}"
	sink := func(obj client.Object) string {
		t.Helper()
		source := obj.(*unstructured.Unstructured)
		schedule, _, _ := unstructured.NestedString(source.Object, "spec", "schedule")
		if source.GetKind() != "PingSource" || schedule != "* * * * *" {
			t.Errorf("source %v", source.Object)
		}
		kind, _, _ := unstructured.NestedString(source.Object, "spec", "sink", "ref", "kind")
		name, _, _ := unstructured.NestedString(source.Object, "spec", "sink", "ref", "name")
		namespace, _, _ := unstructured.NestedString(source.Object, "spec", "sink", "ref", "namespace")
		return kind + " " + namespace + "/" + name
	}
	fn := function(t, "events: [{"+ping+"}]")
	before := fn.DeepCopy()
	objects := wire(t, fn)
	if len(objects) != 1 || sink(objects[0]) != "Service shop/hello" {
		t.Errorf("alone: %v", objects)
	}
	if diff := cmp.Diff(before, fn); diff != "" {
		t.Errorf("the Function was changed (-before +after):\n%s", diff)
	}
	for _, with := range []string{"delivery: {retry: 1}", "reply: {uri: 'http://a.example/'}"} {
		objects := wire(t, function(t, "events: [{"+ping+", "+with+"}]"))
		if len(objects) != 3 {
			t.Fatalf("%s: %v", with, objects)
		}
		name := objects[2].GetName()
		if objects[0].GetName() != name || objects[1].(*messagingv1.Subscription).Spec.Channel.Name != name || sink(objects[2]) != "Channel shop/"+name {
			t.Errorf("%s: %v", with, objects)
		}
	}
}

func TestNames(t *testing.T) {
	names := func(events string) []string {
		var out []string
		for _, obj := range wire(t, function(t, events)) {
			out = append(out, obj.GetName())
		}
		return out
	}
	const ping, other = "{apiVersion: a.example/v1, kind: Ping}", "{apiVersion: a.example/v1, kind: Other}"
	one := map[string]string{
		"broker": names("events: [{broker: a}]")[0], "channel": names("events: [{channel: a}]")[0], "source": names("events: [{source: " + ping + "}]")[0],
	}
	cases := map[string]struct {
		of     string
		events string
		same   bool
		reason string
	}{
		"other filter":          {"broker", "events: [{broker: a, filters: [{exact: {type: x}}]}]", true, "changed in place"},
		"more events":           {"broker", "events: [{broker: a}, {broker: a}, {}]", true, "the first stays"},
		"other broker":          {"broker", "events: [{broker: b}]", false, "a Trigger's broker cannot change"},
		"default broker":        {"broker", "events: [{}]", false, "default is a broker too"},
		"other goes away":       {"broker", "events: [{broker: b}, {broker: a}]", true, "brokers are counted apart"},
		"channel of that name":  {"broker", "events: [{channel: a}]", false, "a channel is no broker"},
		"other reply":           {"channel", "events: [{channel: a, reply: {uri: 'http://a.example'}}]", true, "changed in place"},
		"other channel":         {"channel", "events: [{channel: b}]", false, "a Subscription's channel cannot change"},
		"other spec":            {"source", "events: [{source: {apiVersion: a.example/v2, kind: Ping, spec: {a: b}}}]", true, "changed in place"},
		"with a channel":        {"source", "events: [{source: " + ping + ", delivery: {}}]", true, "its sink changes"},
		"more sources":          {"source", "events: [{source: " + other + "}, {source: " + ping + "}, {source: " + ping + "}]", true, "kinds are counted apart"},
		"other kind of sources": {"source", "events: [{source: " + other + "}]", false, "a kind cannot change"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			found := false
			seen := map[string]bool{}
			for _, n := range names(c.events) {
				found = found || n == one[c.of]
				if seen[n] && c.events != cases["with a channel"].events {
					t.Errorf("%q twice", n)
				}
				seen[n] = true
				if len(n) > 63 {
					t.Errorf("%q is too long", n)
				}
			}
			if found != c.same {
				t.Errorf("the object is kept: %v, want %v: %s", found, c.same, c.reason)
			}
		})
	}
	named := func(function, broker string) string {
		w := wirer{function: &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Name: function}}, used: map[string]int{}}
		return w.meta("", broker).Name
	}
	if a, b := named("a", "b-c"), named("a-b", "c"); a == b {
		t.Errorf("two functions share %q", a)
	}
}
