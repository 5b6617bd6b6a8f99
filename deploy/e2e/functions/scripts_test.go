//go:build e2e

package functions

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the commands as a person would, each script in a namespace
// of its own, on the cluster of KUBECONFIG.
func TestScripts(t *testing.T) {
	bin, kubeconfig := os.Getenv("KNIT_BIN"), os.Getenv("KUBECONFIG")
	if bin == "" || kubeconfig == "" {
		t.Fatal("KNIT_BIN and KUBECONFIG must be set; run these tests with: make test")
	}
	samples, err := filepath.Abs("../../../samples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:  "../testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"apply": apply},
		Setup: func(env *testscript.Env) error {
			namespace, err := makeNamespace(env.Defer)
			if err != nil {
				return err
			}
			env.Setenv("KUBECONFIG", kubeconfig)
			env.Setenv("NAMESPACE", namespace)
			env.Setenv("SAMPLES", samples)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			return nil
		},
	})
}

// TestTourOfTheReadmeRuns runs samples/tour.sh, whose commands the README shows.
func TestTourOfTheReadmeRuns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "../../../samples/tour.sh").CombinedOutput()
	if err != nil {
		t.Fatalf("tour: %v\n%s", err, out)
	}
}

func TestReadmeShowsWhatTheTourRuns(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tour, err := os.ReadFile("../../../samples/tour.sh")
	if err != nil {
		t.Fatal(err)
	}
	commands := tourCommands(string(readme))
	if len(commands) < 5 {
		t.Errorf("the README's tour has %d commands, want the whole job: %q", len(commands), commands)
	}
	for _, command := range commands {
		if !regexp.MustCompile(`(?m)` + regexp.QuoteMeta(command) + `(\)|$)`).Match(tour) {
			t.Errorf("the README's tour shows %q, which samples/tour.sh does not run", command)
		}
	}
}

// tourCommands are the indented lines with knit in the README's section about the tour.
func tourCommands(readme string) []string {
	_, section, _ := strings.Cut(readme, "\n## A tour")
	section, _, _ = strings.Cut(section, "\n## ")
	var commands []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "    knit ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}
