package cli

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/deploy/manifests"
)

// render builds an overlay with the images in place of the names that the
// manifests use. The order is the one to apply in: namespaces, kinds, rights,
// settings, workloads.
func render(overlay string, images map[string]string) ([]*unstructured.Unstructured, error) {
	files, err := manifestFiles()
	if err != nil {
		return nil, err
	}
	top := types.Kustomization{Resources: []string{"../overlays/" + overlay}}
	for name, ref := range images {
		top.Images = append(top.Images, imageOf(name, ref))
	}
	slices.SortFunc(top.Images, func(a, b types.Image) int { return strings.Compare(a.Name, b.Name) })
	raw, err := yaml.Marshal(top)
	if err != nil {
		return nil, err
	}
	if err := files.WriteFile("/install/kustomization.yaml", raw); err != nil {
		return nil, err
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	built, err := krusty.MakeKustomizer(options).Run(files, "/install")
	if err != nil {
		return nil, fmt.Errorf("render overlay %s: %w", overlay, err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range built.Resources() {
		// By way of JSON, because kustomize's own numbers are of types that
		// Kubernetes' objects must not hold.
		object := &unstructured.Unstructured{}
		raw, err := resource.MarshalJSON()
		if err == nil {
			err = object.UnmarshalJSON(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("render overlay %s: %s: %w", overlay, resource.CurId(), err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// imageOf splits a reference the way kustomize wants it.
func imageOf(name, ref string) types.Image {
	if repository, digest, found := strings.Cut(ref, "@"); found {
		return types.Image{Name: name, NewName: repository, Digest: digest}
	}
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		return types.Image{Name: name, NewName: ref[:i], NewTag: ref[i+1:]}
	}
	return types.Image{Name: name, NewName: ref}
}

// manifestFiles copies the embedded manifests to where kustomize can read them.
func manifestFiles() (filesys.FileSystem, error) {
	files := filesys.MakeFsInMemory()
	err := fs.WalkDir(manifests.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := manifests.FS.ReadFile(name)
		if err != nil {
			return err
		}
		return files.WriteFile(path.Join("/", name), raw)
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded manifests: %w", err)
	}
	return files, nil
}
