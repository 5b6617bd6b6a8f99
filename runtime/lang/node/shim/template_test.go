package shim_test

import (
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"github.com/knit-dev/knit/runtime/conformance/process"
	"github.com/knit-dev/knit/runtime/lang/node"
)

// TestTheTestsOfTemplatesPass, run as their authors would.
func TestTheTestsOfTemplatesPass(t *testing.T) {
	entries, err := fs.ReadDir(node.Templates(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			dir := t.TempDir()
			template, err := fs.Sub(node.Templates(), entry.Name())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, template); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), process.NodePath(t), "--test")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
