// Package samples_test runs the tests of the samples in JavaScript, TypeScript
// and Python as their authors would, with the Node of function images and the
// SDK beside them. Those in Go are packages of this module.
package samples_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/runtime/lang/node"
)

// projects are the folders below this one that hold the named file.
func projects(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == file {
			found = append(found, filepath.Dir(name))
		}
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "knit-sdk") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no sample has a %s (%v)", file, err)
	}
	return found
}

func TestNodeSamples(t *testing.T) {
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	program, err := images.NodePath(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, project := range projects(t, "package.json") {
		t.Run(project, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(project)); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, "node_modules", filepath.FromSlash(node.SDKName)), os.DirFS("../sdk/node")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, "--test")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "# pass 0") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestPythonSamples(t *testing.T) {
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed; the end-to-end tests run the samples in their images")
	}
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	for _, project := range projects(t, "func.py") {
		t.Run(project, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "-m", "unittest")
			cmd.Dir = project
			cmd.Env = append(os.Environ(), "PYTHONPATH="+sdk, "PYTHONDONTWRITEBYTECODE=1")
			if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "Ran 0 tests") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
