package reconcile

import (
	"context"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// FieldOwner is the one name under which Knit writes fields.
const FieldOwner = client.FieldOwner("knit")

// Apply makes an object as obj says, by server-side apply, and fills obj with
// what is stored then. obj is the whole will of Knit: a field that was set in an
// earlier call and is not now is removed, fields of others stay. An owner makes
// it a child that is deleted with it; nil makes it nobody's.
//
// Fields at their zero value count as not set, unless their type always writes
// them. The status is never written.
func Apply(ctx context.Context, c client.Client, owner, obj client.Object) error {
	if owner != nil {
		if err := controllerutil.SetControllerReference(owner, obj, c.Scheme()); err != nil {
			return fmt.Errorf("own %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
		}
	}
	u, err := toApply(c.Scheme(), obj)
	if err != nil {
		return err
	}
	kind := u.GetKind()
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %s/%s: %w", kind, obj.GetNamespace(), obj.GetName(), err)
	}
	// Into a fresh object: nothing may be left of what was wanted.
	stored := reflect.New(reflect.TypeOf(obj).Elem())
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, stored.Interface()); err != nil {
		return fmt.Errorf("read %s %s/%s as it was stored: %w", kind, obj.GetNamespace(), obj.GetName(), err)
	}
	reflect.ValueOf(obj).Elem().Set(stored.Elem())
	return nil
}

// toApply is the object without what a client does not say.
func toApply(scheme *runtime.Scheme, obj client.Object) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(obj, scheme)
	if err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("convert %s %s/%s: %w", gvk.Kind, obj.GetNamespace(), obj.GetName(), err)
	}
	delete(content, "status")
	dropNull(content)
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	for _, field := range []string{"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	return u, nil
}

// dropNull removes null values, which server-side apply would take for a value:
// nested templates write "creationTimestamp": null, for example.
func dropNull(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if inner == nil {
				delete(v, key)
				continue
			}
			dropNull(inner)
		}
	case []any:
		for _, inner := range v {
			dropNull(inner)
		}
	}
}

// Owns reports whether owner is the controller of child. A child of the same
// name with another owner must be left alone.
func Owns(owner, child client.Object) bool { return metav1.IsControlledBy(child, owner) }
