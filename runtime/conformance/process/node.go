package process

import (
	"os/exec"
	"sync"
	"testing"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/runtime/lang/node"
)

// nodeBase holds the runtime as the buildpack lays it into images.
var nodeBase struct {
	once            sync.Once
	runtime, binary string
}

// NodePath is the Node of function images, whatever this machine has. It is
// downloaded once into Knit's cache.
func NodePath(t testing.TB) string {
	t.Helper()
	path, err := images.NodePath(t.Context(), openCache(t))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Node prepares a Node function that Detect finds.
func Node(t testing.TB, files map[string][]byte) Program {
	t.Helper()
	dir := folder(t, "node")
	Write(t, dir, files)
	function, err := node.Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	return NodeIn(t, dir, function)
}

// NodeIn prepares a Node function that lies in a folder already.
func NodeIn(t testing.TB, dir string, function node.Function) Program {
	t.Helper()
	nodeBase.once.Do(func() {
		files, err := node.Runtime()
		if err != nil {
			t.Fatal(err)
		}
		nodeBase.runtime = folder(t, "node-runtime")
		Write(t, nodeBase.runtime, files)
		nodeBase.binary = NodePath(t)
	})
	if nodeBase.binary == "" {
		t.Fatal("the Node runtime could not be prepared; an earlier test says why")
	}
	return Program{root: "/", command: func(env []string) *exec.Cmd {
		cmd := exec.Command(nodeBase.binary, node.Arguments(nodeBase.runtime, function)...)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}}
}
