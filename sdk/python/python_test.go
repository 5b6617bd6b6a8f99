// Package python_test runs the tests of the Python SDK with the Python of this
// machine, which on Debian 12 is that of function images.
package python_test

import (
	"os"
	"os/exec"
	"testing"
)

func TestSDK(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed; the runtime's own tests run the SDK on the Python of images")
	}
	cmd := exec.CommandContext(t.Context(), python, "-m", "unittest", "discover", "tests")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
