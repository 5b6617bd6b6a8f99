package knative

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// sources are the manifests, per module: folders (with all below) and files.
// networking and caching hold what serving's own folder only links to; module
// archives have no links.
var sources = []struct {
	module string
	paths  []string
}{
	{"knative.dev/serving", []string{"config/core"}},
	{"knative.dev/networking", []string{"config"}},
	{"knative.dev/caching", []string{"config"}},
	{"knative.dev/eventing", []string{"config/core", "config/channels/in-memory-channel", "config/brokers/mt-channel-broker"}},
}

// moduleDirs finds the modules' folders in the module cache.
func moduleDirs(ctx context.Context, moduleDir string) (map[string]string, error) {
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Dir}}"}
	for _, s := range sources {
		args = append(args, s.module)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = moduleDir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("read Knative's manifests: go is not on PATH; install Go, the manifests are in its module cache")
		}
		return nil, fmt.Errorf("read Knative's manifests: go list in %s: %w: %s; run `go mod download` there",
			moduleDir, err, strings.TrimSpace(stderr.String()))
	}
	dirs := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		module, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		dirs[module] = dir
	}
	for _, s := range sources {
		if dir := dirs[s.module]; dir == "" {
			return nil, fmt.Errorf("read Knative's manifests: module %s is not in the module cache; run `go mod download` in %s", s.module, moduleDir)
		} else if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("read Knative's manifests: module %s: %w; run `go mod download` in %s", s.module, err, moduleDir)
		}
	}
	return dirs, nil
}

// readManifests reads all objects in a stable order.
func readManifests(dirs map[string]string) ([]unstructured.Unstructured, error) {
	var objects []unstructured.Unstructured
	for _, s := range sources {
		for _, p := range s.paths {
			root := filepath.Join(dirs[s.module], filepath.FromSlash(p))
			err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || path.Ext(file) != ".yaml" {
					return err
				}
				read, err := readObjects(file)
				objects = append(objects, read...)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("read Knative's manifests: %w", err)
			}
		}
	}
	return objects, nil
}

func readObjects(file string) ([]unstructured.Unstructured, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []unstructured.Unstructured
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var o unstructured.Unstructured
		data, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		// Whole numbers must become int64, which only this decoder does.
		if err := utiljson.Unmarshal(data, &o.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(o.Object) == 0 {
			continue // only comments
		}
		if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
			return nil, fmt.Errorf("%s: a document has no apiVersion, kind or name", file)
		}
		dropAggregatedRules(&o)
		objects = append(objects, o)
	}
}

// dropAggregatedRules removes the empty rules of an aggregated ClusterRole: the
// controller manager owns them, and applying our emptiness would fight it.
func dropAggregatedRules(o *unstructured.Unstructured) {
	if _, found, _ := unstructured.NestedMap(o.Object, "aggregationRule"); found && o.GetKind() == "ClusterRole" {
		delete(o.Object, "rules")
	}
}
