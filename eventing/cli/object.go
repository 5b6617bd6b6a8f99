package cli

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// newObject returns an object with a spec of Knative's own Go type. It holds
// what was said and nothing else: no empty status, and no field that is null.
func newObject(gvk schema.GroupVersionKind, spec any) (*unstructured.Unstructured, error) {
	fields, err := toFields(spec)
	if err != nil {
		return nil, fmt.Errorf("write the spec of kind %s: %w", gvk.Kind, err)
	}
	dropEmpty(fields)
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(gvk)
	if len(fields) > 0 {
		object.Object["spec"] = fields
	}
	return object, nil
}

// toFields returns a value as the API's JSON holds it.
func toFields(value any) (map[string]any, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	return fields, utiljson.Unmarshal(raw, &fields)
}

// dropEmpty removes what Go's types write though it was never set.
func dropEmpty(fields map[string]any) {
	for name, value := range fields {
		if inner, ok := value.(map[string]any); ok {
			dropEmpty(inner)
			if len(inner) == 0 {
				delete(fields, name)
			}
		}
		if value == nil {
			delete(fields, name)
		}
	}
}
