// Package project reads the project folders that people deploy and build: the
// objects in knit.yaml, and the folders that they name, packed and pushed to
// the function service. The commands of functions and builder call it. It
// applies nothing and waits for nothing.
package project

import (
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// AddToScheme registers the kinds of a manifest.
func AddToScheme(scheme *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, eventingv1.AddToScheme, messagingv1.AddToScheme, flowsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	return nil
}

// kinds are those that a manifest may hold: Knit's own, and Knative's on the way
// of an event. Sources stand in a function's events.
var kinds = []schema.GroupVersionKind{
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindFunction),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindSchedule),
	eventingv1.SchemeGroupVersion.WithKind("Broker"),
	eventingv1.SchemeGroupVersion.WithKind("Trigger"),
	messagingv1.SchemeGroupVersion.WithKind("Channel"),
	messagingv1.SchemeGroupVersion.WithKind("Subscription"),
	flowsv1.SchemeGroupVersion.WithKind("Sequence"),
	flowsv1.SchemeGroupVersion.WithKind("Parallel"),
}

// kindsText lists them for people.
func kindsText() string {
	texts := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		texts = append(texts, kind.Kind+" of "+kind.GroupVersion().String())
	}
	return strings.Join(texts, ", ")
}

// PackFunction packs the folder of a function, with the shared paths that it
// includes, and writes the archive's digest into both forms of the document. It
// returns nil for a function whose source is no folder.
func (m *Manifest) PackFunction(d Document) (*Source, error) {
	source := &d.Function.Spec.Source
	if source.Path == "" {
		return nil, nil // an image, a git repository, or an archive that was pushed before
	}
	dir := filepath.Dir(m.File)
	include := make([]string, 0, len(source.Include))
	for _, name := range source.Include {
		include = append(include, filepath.Join(dir, name))
	}
	packed, err := Pack(filepath.Join(dir, source.Path), include)
	if err != nil {
		return nil, err
	}
	source.Archive = &v1alpha1.Archive{Digest: packed.Digest}
	written := map[string]any{"digest": packed.Digest}
	if packed.Path != "." {
		source.Archive.Path, written["path"] = packed.Path, packed.Path
	}
	if err := unstructured.SetNestedMap(d.Written.Object, written, "spec", "source", "archive"); err != nil {
		packed.Close()
		return nil, fmt.Errorf("write the digest of %s: %w", d.Title(), err)
	}
	return packed, nil
}
