package python_test

import (
	"os"
	"testing"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

// These tests drive the process with the real Python of the run base, in what
// only Python promises; runtime/conformance tests what all languages promise.

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

func start(t *testing.T, source map[string]string, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, process.Python(t, process.Sources(source)).Command(append([]string{"KNIT_DRAIN_DELAY=0s"}, env...)...))
}

func runToEnd(t *testing.T, source map[string]string, env ...string) (code int, log string) {
	t.Helper()
	return process.RunToEnd(t, process.Python(t, process.Sources(source)).Command(env...))
}
