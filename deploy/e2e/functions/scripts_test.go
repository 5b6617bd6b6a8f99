//go:build e2e

package functions

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
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
		Dir: "../testdata/script",
		Setup: func(env *testscript.Env) error {
			namespace, err := makeNamespace(env, kubeconfig)
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

func makeNamespace(env *testscript.Env, kubeconfig string) (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	ns, err := client.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "script-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make namespace: %w", err)
	}
	env.Defer(func() {
		_ = client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	return ns.Name, nil
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
