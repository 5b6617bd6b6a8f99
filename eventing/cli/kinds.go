package cli

import (
	"context"
	"encoding/json"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// noun is a word of the command line and the objects that it stands for. What
// lists, describes and deletes them knows nothing else about a kind.
type noun struct {
	word, plural string
	hint         string // a command that makes the first one
	// kinds finds the kinds. Most nouns have one that is known beforehand; a
	// source is of any kind that is installed.
	kinds func(context.Context, *cmdline.Env, *cmdline.Cluster) ([]kind, error)
	// choice is the help of --kind, for nouns where two objects may have one name.
	choice string
	// columns come after NAME, READY, REASON and AGE, and those of wide last.
	columns, wide []string
	// cells fill columns and wide.
	cells func(*unstructured.Unstructured) []string
	// facts are lines of a description; those that every kind may have, such
	// as addresses and delivery, come by themselves.
	facts func(*unstructured.Unstructured) []fact
}

// fact is a line of a description, or several when the value has more. One
// without a value is not shown.
type fact struct{ name, value string }

// kind is a kind of objects, with its definition where it was looked up.
type kind struct {
	schema.GroupVersionKind
	definition *apiextensionsv1.CustomResourceDefinition // nil for kinds known beforehand
}

// known returns the only kind of a noun.
func known(gvk schema.GroupVersionKind) func(context.Context, *cmdline.Env, *cmdline.Cluster) ([]kind, error) {
	return func(context.Context, *cmdline.Env, *cmdline.Cluster) ([]kind, error) {
		return []kind{{GroupVersionKind: gvk}}, nil
	}
}

// object returns an empty object of the kind.
func (k kind) object() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(k.GroupVersionKind)
	return object
}

// list returns an empty list of the kind.
func (k kind) list() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
	return list
}

// read returns an object as a Go type. What does not fit the type is left out:
// one odd object must not spoil a table of many.
func read[T any](object *unstructured.Unstructured) *T {
	var typed T
	if raw, err := json.Marshal(object.Object); err == nil {
		_ = json.Unmarshal(raw, &typed)
	}
	return &typed
}

// readiness is the Ready condition as far as it is about the present object,
// with a reason only where it is not ready.
func readiness(object *unstructured.Unstructured) (status, reason string) {
	resource := read[duckv1.KResource](object)
	seen := resource.Status.ObservedGeneration
	if seen != 0 && seen != object.GetGeneration() {
		return string(metav1.ConditionUnknown), "Outdated"
	}
	for _, c := range resource.Status.Conditions {
		if c.Type != "Ready" && c.Type != "Succeeded" {
			continue
		}
		if c.IsTrue() {
			return string(c.Status), ""
		}
		return string(c.Status), c.Reason
	}
	return string(metav1.ConditionUnknown), ""
}

func deref[T ~string](value *T) string {
	if value == nil {
		return ""
	}
	return string(*value)
}

// spaced joins what is there.
func spaced(words ...string) string {
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
