//go:build e2e

package functions

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// clusterClient speaks with the cluster of KUBECONFIG.
func clusterClient() (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{})
}

// makeNamespace makes a namespace that is deleted at the end of its test.
func makeNamespace(atEnd func(func())) (string, error) {
	c, err := clusterClient()
	if err != nil {
		return "", err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "script-"}}
	if err := c.Create(context.Background(), ns); err != nil {
		return "", fmt.Errorf("make namespace: %w", err)
	}
	atEnd(func() { _ = c.Delete(context.Background(), ns) })
	return ns.Name, nil
}

// apply applies the object in a file to the script's namespace:
//
//	apply secret.yaml
func apply(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: apply FILE")
	}
	object := &unstructured.Unstructured{}
	ts.Check(yaml.Unmarshal([]byte(ts.ReadFile(args[0])), &object.Object))
	object.SetNamespace(ts.Getenv("NAMESPACE"))
	c, err := clusterClient()
	ts.Check(err)
	ts.Check(c.Apply(context.Background(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("e2e"), client.ForceOwnership))
}

// project is a copy of a sample in a namespace of its own, and the commands
// that work on it.
type project struct {
	t         *testing.T
	namespace string
	folder    string
}

func newProject(t *testing.T, sample string) project {
	t.Helper()
	namespace, err := makeNamespace(t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), sample)
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("..", "..", "..", "samples", sample))); err != nil {
		t.Fatal(err)
	}
	return project{t: t, namespace: namespace, folder: folder}
}

// knit runs a command and returns what it printed.
func (p project) knit(args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), filepath.Join(os.Getenv("KNIT_BIN"), "knit"), append(args, "-n", p.namespace)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("knit %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// replace changes one text in a file of the project.
func (p project) replace(file, from, to string) {
	p.t.Helper()
	name := filepath.Join(p.folder, file)
	content, err := os.ReadFile(name)
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.Contains(string(content), from) {
		p.t.Fatalf("%s has no %q", name, from)
	}
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(content), from, to)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// request asks a URL of the cluster through the gateway on this machine.
func request(ctx context.Context, url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+os.Getenv("KNIT_GATEWAY_PORT"), nil)
	if err != nil {
		return nil, err
	}
	r.Host = strings.TrimPrefix(url, "http://")
	return r, nil
}
