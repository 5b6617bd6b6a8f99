package shim_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/runtime/lang/node"
)

// runtimeFolder holds the runtime as the buildpack lays it into images.
var runtimeFolder string

func TestMain(m *testing.M) {
	code, err := withRuntime(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "write the runtime:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func withRuntime(run func() int) (code int, err error) {
	runtimeFolder, err = os.MkdirTemp("", "knit-node-runtime-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(runtimeFolder)) }()
	files, err := node.Runtime()
	if err != nil {
		return 0, err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(runtimeFolder, name), content, 0o644); err != nil {
			return 0, err
		}
	}
	return run(), nil
}

// nodePath is the Node of function images, whatever this machine has.
func nodePath(t *testing.T) string {
	t.Helper()
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	path, err := images.NodePath(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
