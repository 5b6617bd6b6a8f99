// Package node_test runs the tests of the Node SDK with the Node of function images.
package node_test

import (
	"os/exec"
	"testing"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
)

func TestSDK(t *testing.T) {
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	node, err := images.NodePath(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), node, "--test").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
