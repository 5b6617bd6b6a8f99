// Package project reads the project folders that people deploy and build: the
// objects in knit.yaml, and the folders that they name, packed and pushed to
// the function service. The commands of functions and builder call it. It
// applies nothing and waits for nothing.
package project

import (
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// newScheme holds the kinds of a manifest.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
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
