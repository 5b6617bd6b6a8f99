package graph

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// parse reads YAML documents as the objects of a namespace in which all kinds
// were listed but JobSinks.
func parse(t testing.TB, text string) Objects {
	t.Helper()
	o := Objects{Namespace: "shop", Listed: sets.New(
		schema.GroupKind{Group: "knit.dev", Kind: "Function"},
		schema.GroupKind{Group: "eventing.knative.dev", Kind: "Broker"},
		schema.GroupKind{Group: "messaging.knative.dev", Kind: "Channel"},
		schema.GroupKind{Group: "flows.knative.dev", Kind: "Sequence"},
		schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"},
		schema.GroupKind{Kind: "Service"},
	)}
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var raw runtime.RawExtension
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return o
		} else if err != nil {
			t.Fatal(err)
		}
		if len(raw.Raw) == 0 || string(raw.Raw) == "null" {
			continue
		}
		var u unstructured.Unstructured
		if err := u.UnmarshalJSON(raw.Raw); err != nil {
			t.Fatalf("%v:\n%s", err, raw.Raw)
		}
		if u.GetNamespace() == "" {
			u.SetNamespace("shop")
		}
		o.put(t, u)
	}
}

func (o *Objects) put(t testing.TB, u unstructured.Unstructured) {
	t.Helper()
	switch u.GetKind() {
	case "Function":
		o.Functions = append(o.Functions, *convert(t, u, &o.Functions))
	case "Schedule":
		o.Schedules = append(o.Schedules, *convert(t, u, &o.Schedules))
	case "Broker":
		o.Brokers = append(o.Brokers, *convert(t, u, &o.Brokers))
	case "Trigger":
		o.Triggers = append(o.Triggers, *convert(t, u, &o.Triggers))
	case "Channel":
		o.Channels = append(o.Channels, *convert(t, u, &o.Channels))
	case "InMemoryChannel":
		o.InMemoryChannels = append(o.InMemoryChannels, *convert(t, u, &o.InMemoryChannels))
	case "Subscription":
		o.Subscriptions = append(o.Subscriptions, *convert(t, u, &o.Subscriptions))
	case "Sequence":
		o.Sequences = append(o.Sequences, *convert(t, u, &o.Sequences))
	case "Parallel":
		o.Parallels = append(o.Parallels, *convert(t, u, &o.Parallels))
	default:
		if strings.HasPrefix(u.GetAPIVersion(), "sources.knative.dev/") {
			o.Sources = append(o.Sources, u)
			return
		}
		o.Targets = append(o.Targets, u)
	}
}

func convert[T any](t testing.TB, u unstructured.Unstructured, _ *[]T) *T {
	t.Helper()
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		t.Fatalf("%s %s: %v", u.GetKind(), u.GetName(), err)
	}
	return out
}

func shop(t testing.TB) Objects {
	t.Helper()
	raw, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(raw))
}

func written(t testing.TB, write func(io.Writer, *Graph) error, g *Graph) string {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, g); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
