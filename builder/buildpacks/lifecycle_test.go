package buildpacks_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
)

// platformAPI is the one that the build pods speak.
const platformAPI = "0.14"

// builderFixture is a builder in a registry, and its root folder on disk.
type builderFixture struct {
	registry registrytest.Registry
	ref      name.Digest
	root     string
	env      []string
	user     int
}

// newBuilder makes the real builder. The cache is the machine's own, so that
// only a new Go or a new buildpack costs time.
func newBuilder(t *testing.T) builderFixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("builds run in namespaces of their own: needs root")
	}
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b := builderFixture{registry: registrytest.Start(t)}
	begun := time.Now()
	b.ref, err = buildpacks.Create(t.Context(), buildpacks.Options{Module: module, Cache: cache, Registry: b.registry.Registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("builder made in %s", time.Since(begun).Round(time.Millisecond))
	img := b.pull(t, b.ref.String())
	var config v1.Config
	b.user, config = configOf(t, img)
	b.env = config.Env
	b.root = unpack(t, img, "ca", "auth")
	return b
}

func (b builderFixture) pull(t *testing.T, reference string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	options, done := b.registry.Remote(t.Context())
	t.Cleanup(done)
	img, err := remote.Image(ref, options...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// phase is one container of the build pod.
type phase struct {
	name    string
	offline bool // runs user-controlled input, and needs no network
	args    []string
}

func phases(image string) []phase {
	cache := []string{"-cache-image", image + "-cache"}
	return []phase{
		{name: "analyzer", args: append(cache, image)},
		{name: "detector", offline: true},
		{name: "restorer", args: cache},
		{name: "builder", offline: true},
		{name: "exporter", args: append(cache, image)},
	}
}

// build runs the phases in separate containers that share only volumes, as the
// containers of a build pod do. It returns everything they printed and the
// phase that failed, if one did.
func (b builderFixture) build(t *testing.T, image, source string, env map[string]string) (output, failed string) {
	t.Helper()
	volumes := map[string]string{}
	for _, name := range []string{"workspace", "layers", "platform", "tmp"} {
		volumes["/"+name] = t.TempDir()
	}
	volumes["/ca"], volumes["/auth"] = t.TempDir(), t.TempDir()
	copyFile(t, b.registry.CAFile, filepath.Join(volumes["/ca"], "ca.crt"))
	copyFile(t, b.registry.LoginFile, filepath.Join(volumes["/auth"], "config.json"))
	for key, value := range env {
		writeFile(t, filepath.Join(volumes["/platform"], "env", key), []byte(value))
	}
	if err := os.CopyFS(volumes["/workspace"], os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range volumes {
		giveTo(t, dir, b.user)
	}
	var all, times strings.Builder
	begun := time.Now()
	for _, p := range phases(image) {
		c := container{
			Root: b.root, Volumes: volumes, User: b.user, Dir: "/workspace",
			Args: append([]string{"/cnb/lifecycle/" + p.name, "-log-level", "info"}, p.args...),
			Env: append(b.env, "CNB_PLATFORM_API="+platformAPI, "HOME=/tmp", "DOCKER_CONFIG=/auth", "SSL_CERT_DIR=/ca",
				"CNB_APP_DIR=/workspace", "CNB_LAYERS_DIR=/layers", "CNB_PLATFORM_DIR=/platform", "CNB_NO_COLOR=true"),
		}
		start := time.Now()
		out, err := c.run(t, p.offline)
		fmt.Fprintf(&times, " %s %s", p.name, time.Since(start).Round(time.Millisecond))
		fmt.Fprintf(&all, "=== %s\n%s", p.name, out)
		if err != nil {
			return all.String(), p.name
		}
	}
	t.Logf("%s built in %s:%s", image[strings.LastIndex(image, "/")+1:], time.Since(begun).Round(time.Millisecond), times.String())
	return all.String(), ""
}

func (b builderFixture) mustBuild(t *testing.T, image, source string, env map[string]string) v1.Image {
	t.Helper()
	if output, failed := b.build(t, image, source, env); failed != "" {
		t.Fatalf("phase %s failed:\n%s", failed, output)
	}
	return b.pull(t, image)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, content)
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// giveTo makes a volume belong to the build user, as a pod's fsGroup does.
func giveTo(t *testing.T, dir string, user int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// running is a function's process in a container of its image.
type running struct {
	url string
	log func() string
}

// start runs the image's default process as its own user, with a read-only root.
func start(t *testing.T, img v1.Image) running {
	t.Helper()
	user, config := configOf(t, img)
	root := unpack(t, img)
	c := container{Root: root, User: user, Dir: config.WorkingDir, Args: config.Entrypoint, Env: append(config.Env, "KNIT_HOST=127.0.0.1", "PORT=0")}
	cmd := c.command(t, false)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the function logged nothing: %v", err)
	}
	var ready struct{ Address string }
	if err := json.Unmarshal([]byte(first), &ready); err != nil || ready.Address == "" {
		t.Fatalf("first log line: %q (%v)", first, err)
	}
	var mu sync.Mutex
	var log strings.Builder
	go func() {
		for {
			line, err := lines.ReadString('\n')
			mu.Lock()
			log.WriteString(line)
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return running{url: "http://" + ready.Address, log: func() string {
		mu.Lock()
		defer mu.Unlock()
		return log.String()
	}}
}

// post sends a body with headers given as "Name: value".
func (r running) post(t *testing.T, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}
