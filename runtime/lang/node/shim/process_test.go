// Package shim_test tests what only the runtime for Node promises, with the Node
// that function images hold. What all languages promise is tested by
// runtime/conformance.
package shim_test

import (
	"os"
	"testing"

	"github.com/knit-dev/knit/runtime/conformance/process"
	"github.com/knit-dev/knit/runtime/lang/node"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// write puts the function's files into a folder of their own.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	process.Write(t, dir, process.Sources(files))
	return dir
}

// program prepares a function's folder; args are the entry and, if there is one,
// the kind.
func program(t *testing.T, dir string, args []string) process.Program {
	t.Helper()
	function := node.Function{Entry: args[0], Kind: node.Any}
	if len(args) > 1 {
		function.Kind = node.Kind(args[1])
	}
	return process.NodeIn(t, dir, function)
}

func start(t *testing.T, dir string, args []string, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, program(t, dir, args).Command(append([]string{"KNIT_DRAIN_DELAY=0s"}, env...)...))
}

func runToEnd(t *testing.T, dir string, args []string, env ...string) (code int, log string) {
	t.Helper()
	return process.RunToEnd(t, program(t, dir, args).Command(env...))
}
