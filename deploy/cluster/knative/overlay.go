package knative

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

//go:embed config/*.yaml
var config embed.FS

// overlay is the content of config/, see the README there.
type overlay struct {
	Patches []unstructured.Unstructured
	Objects []unstructured.Unstructured
}

// identity is what a patch finds its object by.
type identity struct{ apiVersion, kind, namespace, name string }

func (id identity) gvk() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(id.apiVersion, id.kind)
}

func identityOf(o *unstructured.Unstructured) identity {
	return identity{o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName()}
}

// readOverlay reads all files of config/ with variables filled in.
func readOverlay(vars map[string]string) (overlay, error) {
	var pairs []string
	for name, value := range vars {
		pairs = append(pairs, "$("+name+")", value)
	}
	fill := strings.NewReplacer(pairs...)
	entries, err := config.ReadDir("config")
	if err != nil {
		return overlay{}, err
	}
	var all overlay
	for _, e := range entries {
		data, err := config.ReadFile("config/" + e.Name())
		if err != nil {
			return overlay{}, err
		}
		doc, err := yaml.YAMLToJSONStrict([]byte(fill.Replace(string(data))))
		if err != nil {
			return overlay{}, fmt.Errorf("Knative's settings: %s: %w", e.Name(), err)
		}
		var file map[string][]any
		if err := utiljson.Unmarshal(doc, &file); err != nil {
			return overlay{}, fmt.Errorf("Knative's settings: %s: %w", e.Name(), err)
		}
		if err := all.add(file); err != nil {
			return overlay{}, fmt.Errorf("Knative's settings: %s: %w", e.Name(), err)
		}
	}
	return all, nil
}

// add takes in one file's lists.
func (ov *overlay) add(file map[string][]any) error {
	for list, entries := range file {
		for _, e := range entries {
			o, ok := e.(map[string]any)
			switch {
			case list == "shared": // only holds anchors
			case !ok:
				return fmt.Errorf("an entry of %s is no object", list)
			case list == "patches":
				ov.Patches = append(ov.Patches, unstructured.Unstructured{Object: o})
			case list == "objects":
				ov.Objects = append(ov.Objects, unstructured.Unstructured{Object: o})
			default:
				return fmt.Errorf("unknown list %s", list)
			}
		}
	}
	return nil
}

// apply patches the objects and adds those of the overlay.
func (ov overlay) apply(base []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	patches := map[identity]*unstructured.Unstructured{}
	for i := range ov.Patches {
		p := &ov.Patches[i]
		if _, twice := patches[identityOf(p)]; twice {
			return nil, fmt.Errorf("Knative's settings: %s is patched twice", describe(p))
		}
		patches[identityOf(p)] = p
	}
	var out []unstructured.Unstructured
	seen := map[identity]bool{}
	for _, o := range append(base, ov.Objects...) {
		id := identityOf(&o)
		if seen[id] {
			return nil, fmt.Errorf("Knative's manifests: %s exists twice", describe(&o))
		}
		seen[id] = true
		if p, ok := patches[id]; ok {
			delete(patches, id)
			if p.Object["$patch"] == "delete" {
				continue
			}
			patched, err := merge(&o, p)
			if err != nil {
				return nil, fmt.Errorf("Knative's settings: patch %s: %w", describe(&o), err)
			}
			o = *patched
		}
		out = append(out, o)
	}
	for _, p := range patches {
		return nil, fmt.Errorf("Knative's settings: %s is patched but not in the manifests; was it renamed in this version?", describe(p))
	}
	return out, nil
}

// merge applies a strategic merge patch with the schema of the built-in kind.
func merge(o, patch *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	schema, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		return nil, errors.New("only built-in kinds can be patched")
	}
	original, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	change, err := json.Marshal(patch.Object)
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(original, change, schema)
	if err != nil {
		return nil, err
	}
	var out unstructured.Unstructured
	return &out, utiljson.Unmarshal(merged, &out.Object)
}
