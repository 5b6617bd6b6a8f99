//go:build e2e

package functions

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knit-dev/knit/builder/images"
)

// builds is a namespace of its own and the knit command in it.
type builds struct {
	t         *testing.T
	kube      kubernetes.Interface
	namespace string
	source    string // a copy of samples/hello, to change
}

func newBuilds(t *testing.T) builds {
	t.Helper()
	if os.Getenv("KNIT_BIN") == "" {
		t.Fatal("KNIT_BIN must be set; run these tests with: make test")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	b := builds{t: t, kube: kubernetes.NewForConfigOrDie(config), source: t.TempDir()}
	if err := os.CopyFS(b.source, os.DirFS("../../../samples/hello")); err != nil {
		t.Fatal(err)
	}
	ns, err := b.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "builds-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.namespace = ns.Name
	t.Cleanup(func() {
		_ = b.kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	return b
}

func (b builds) command(args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.CommandContext(b.t.Context(), filepath.Join(os.Getenv("KNIT_BIN"), "knit"), append(args, "-n", b.namespace)...)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// knit runs a command that must succeed and returns what it printed.
func (b builds) knit(args ...string) (stdout, stderr string) {
	b.t.Helper()
	cmd, out, errs := b.command(args...)
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("knit %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return strings.TrimSpace(out.String()), errs.String()
}

// edit changes the sample's source.
func (b builds) edit(text string) {
	b.t.Helper()
	file := filepath.Join(b.source, "more.go")
	if err := os.WriteFile(file, []byte("package function\n\nconst more = \""+text+"\"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// pods are the build pods of the namespace that have not ended.
func (b builds) pods() []corev1.Pod {
	b.t.Helper()
	list, err := b.kube.CoreV1().Pods("knit-builds").List(b.t.Context(), metav1.ListOptions{LabelSelector: "knit.dev/build-namespace=" + b.namespace})
	if err != nil {
		b.t.Fatal(err)
	}
	return list.Items
}

func (b builds) until(what string, done func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within two minutes: %s", what)
		}
		select {
		case <-b.t.Context().Done():
			b.t.Fatal(b.t.Context().Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func TestABuildBeforeItsDeployment(t *testing.T) {
	b := newBuilds(t)
	image, _ := b.knit("build", b.source)
	begin := time.Now()
	again, told := b.knit("build", b.source)
	if took := time.Since(begin); again != image || !strings.Contains(told, "Unchanged") || took > 2*time.Second {
		t.Errorf("nothing changed, and it took %v: %s %s", took, again, told)
	} else {
		t.Logf("nothing changed: decided and answered in %v", took)
	}
	if n := len(b.pods()); n != 1 {
		t.Errorf("%d pods for two builds of the same, want 1", n)
	}
	b.knit("deploy", b.source)
	if shown, _ := b.knit("describe", "hello"); !strings.Contains(shown, image) || len(b.pods()) != 1 {
		t.Errorf("the deployment built again:\n%s", shown)
	}
	if shown, _ := b.knit("build", "explain", "hello"); !strings.Contains(shown, "reuse (nothing changed") || !strings.Contains(shown, "there is no earlier build") {
		t.Errorf("explain:\n%s", shown)
	}
	if bill, _ := b.knit("build", "sbom", "hello"); !json.Valid([]byte(bill)) || !strings.Contains(bill, "CycloneDX") || !strings.Contains(bill, "pkg:golang/std@") {
		t.Errorf("bill of materials:\n%s", bill)
	}
	b.edit("changed")
	if foretold, _ := b.knit("build", b.source, "--dry-run"); !strings.Contains(foretold, "build (the source changed") || len(b.pods()) != 1 {
		t.Errorf("dry run:\n%s", foretold)
	}
}

func TestALogOutlivesItsPod(t *testing.T) {
	b := newBuilds(t)
	b.knit("build", b.source)
	live, _ := b.knit("build", "logs", "hello")
	b.until("the log is kept", func() bool {
		yaml, _ := b.knit("build", "list", "-o", "yaml")
		return strings.Contains(yaml, "logs:build-")
	})
	for _, pod := range b.pods() {
		if err := b.kube.CoreV1().Pods("knit-builds").Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.until("the pod is gone", func() bool { return len(b.pods()) == 0 })
	if kept, _ := b.knit("build", "logs", "hello"); kept != live || !strings.Contains(kept, "===> export") {
		t.Errorf("kept:\n%s\nlive:\n%s", kept, live)
	}
}

func TestACancelledBuildIsSeen(t *testing.T) {
	b := newBuilds(t)
	cmd, _, stderr := b.command("build", b.source)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.until("the pod is made", func() bool { return len(b.pods()) == 1 })
	b.knit("build", "cancel", "hello")
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "Cancelled") {
		t.Errorf("the command that waits: %v %s", err, stderr)
	}
	if list, _ := b.knit("build", "list"); !strings.Contains(list, "Cancelled") {
		t.Errorf("list:\n%s", list)
	}
	b.until("the pod is gone", func() bool { return len(b.pods()) == 0 })
	// The same source can be built again.
	b.knit("build", b.source)
}

// registry is the embedded cluster's.
func (b builds) registry() images.Registry { return clusterRegistry(b.t, b.kube) }

func clusterRegistry(t *testing.T, kube kubernetes.Interface) images.Registry {
	t.Helper()
	settings, err := kube.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "knit-cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := kube.CoreV1().Secrets("kube-system").Get(t.Context(), "knit-registry", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var login struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &login); err != nil {
		t.Fatal(err)
	}
	registry := images.Registry{Host: settings.Data["registry"], CA: x509.NewCertPool()}
	registry.CA.AppendCertsFromPEM([]byte(settings.Data["ca.crt"]))
	decoded, err := base64.StdEncoding.DecodeString(login.Auths[registry.Host].Auth)
	if err != nil {
		t.Fatal(err)
	}
	registry.Username, registry.Password, _ = strings.Cut(string(decoded), ":")
	return registry
}

func TestARebaseBuildsNothing(t *testing.T) {
	b := newBuilds(t)
	b.knit("deploy", b.source)
	before, _ := b.knit("build", "list", "--base")
	base, next := b.newBase("knit/run-static")
	if !strings.Contains(before, base) {
		t.Fatalf("the function does not stand on %s:\n%s", base, before)
	}
	begin := time.Now()
	image, _ := b.knit("build", "rebase", "hello")
	t.Logf("rebased in %v", time.Since(begin))
	b.until("the function rolls to the new image", func() bool {
		shown, _ := b.knit("describe", "hello", "-o", "yaml")
		return strings.Contains(shown, "image: "+image)
	})
	if after, _ := b.knit("build", "list", "--base"); !strings.Contains(after, next) {
		t.Errorf("bases:\n%s", after)
	}
	b.until("the rebased image answers", func() bool {
		cmd, out, _ := b.command("invoke", "hello")
		return cmd.Run() == nil && strings.Contains(out.String(), "Hello from Knit!")
	})
	if shown, _ := b.knit("build", "explain", "hello"); !strings.Contains(shown, ": rebase") {
		t.Errorf("explain:\n%s", shown)
	}
	// Another's image is no base.
	cmd, _, stderr := b.command("build", "rebase", "hello", "--run-image", image)
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "allowed-run-images") {
		t.Errorf("a function's image as a base: %v %s", err, stderr)
	}
}

// setting changes a setting of the platform until the test ends.
func (b builds) setting(key, value string) {
	b.t.Helper()
	settings := b.kube.CoreV1().ConfigMaps("knit-system")
	stored, err := settings.Get(b.t.Context(), "knit-platform", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	before, found := stored.Data[key]
	patch := func(ctx context.Context, value any) error {
		raw, err := json.Marshal(map[string]any{"data": map[string]any{key: value}})
		if err == nil {
			_, err = settings.Patch(ctx, "knit-platform", k8stypes.MergePatchType, raw, metav1.PatchOptions{})
		}
		return err
	}
	if err := patch(b.t.Context(), value); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		var old any
		if found {
			old = before
		}
		if err := patch(context.Background(), old); err != nil {
			b.t.Error(err)
		}
	})
}

// A builder with users of its own: its files and phases belong to them, and the
// phases with the login are still the platform's.
func TestAnotherBuilderBuilds(t *testing.T) {
	b := newBuilds(t)
	registry := b.registry()
	options, done := registry.Remote(t.Context())
	defer done()
	settings, err := b.kube.CoreV1().ConfigMaps("knit-system").Get(t.Context(), "knit-platform", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(settings.Data["builder-image"])
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref, options...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := *file.Config.DeepCopy()
	for i, env := range config.Env {
		for _, variable := range []string{"CNB_USER_ID", "CNB_GROUP_ID"} {
			if strings.HasPrefix(env, variable+"=") {
				config.Env[i] = variable + "=2000"
			}
		}
	}
	config.User = "2000:2000"
	if image, err = mutate.Config(image, config); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Push(t.Context(), "others/builder", image, "v1"); err != nil {
		t.Fatal(err)
	}
	builder := registry.Host + "/others/builder:v1"
	manifest := "apiVersion: knit.dev/v1alpha1\nkind: Function\nmetadata: {name: hello}\nspec:\n  source: {path: .}\n  build: {builder: \"" + builder + "\"}\n"
	if err := os.WriteFile(filepath.Join(b.source, "knit.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, _, stderr := b.command("build", b.source)
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "allowed-builders") {
		t.Errorf("before it is allowed: %v %s", err, stderr)
	}
	b.setting("allowed-builders", registry.Host+"/others/*")
	// What failed for the same inputs is built again when it is asked for.
	b.knit("build", b.source)
	b.knit("deploy", b.source)
	for _, pod := range b.pods() {
		for _, c := range pod.Spec.InitContainers {
			foreign := strings.Contains(c.Image, "/others/builder@sha256:")
			if foreign != (c.Name == "build") || *c.SecurityContext.RunAsUser != 2000 {
				t.Errorf("%s runs %s as %d", c.Name, c.Image, *c.SecurityContext.RunAsUser)
			}
		}
	}
	b.until("its image answers", func() bool {
		cmd, out, _ := b.command("invoke", "hello")
		return cmd.Run() == nil && strings.Contains(out.String(), "Hello from Knit!")
	})
}

// newBase publishes a newer run image, until the test ends: the present one with
// another layer.
func (b builds) newBase(repository string) (present, next string) {
	b.t.Helper()
	registry := b.registry()
	options, done := registry.Remote(b.t.Context())
	defer done()
	tag, err := name.NewTag(registry.Host + "/" + repository + ":latest")
	if err != nil {
		b.t.Fatal(err)
	}
	old, err := remote.Image(tag, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	layer, err := random.Layer(1000, types.DockerLayer)
	if err != nil {
		b.t.Fatal(err)
	}
	newer, err := mutate.AppendLayers(old, layer)
	if err != nil {
		b.t.Fatal(err)
	}
	push := func(ctx context.Context, image v1.Image) string {
		ref, err := registry.Push(ctx, repository, image, "latest")
		if err != nil {
			b.t.Fatal(err)
		}
		return ref.String()
	}
	b.t.Cleanup(func() { push(context.Background(), old) })
	return push(b.t.Context(), old), push(b.t.Context(), newer)
}
