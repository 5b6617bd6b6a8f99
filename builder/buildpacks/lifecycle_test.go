package buildpacks_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// builderFixture is a builder in a registry, and its root folder on disk.
type builderFixture struct {
	registry registrytest.Registry
	ref      name.Digest
	roots    map[string]string   // unpacked images by reference
	envs     map[string][]string // their environments
	platform incluster.Platform
	online   bool // detect and build reach the network, for packages
}

// tenant is the namespace of all functions here.
const tenant = "demo"

// newBuilder makes the real builder. The cache is the machine's own, so that
// only a new Go or a new buildpack costs time.
func newBuilder(t *testing.T, more ...buildpacks.Language) builderFixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("builds run in namespaces of their own: needs root")
	}
	cache, module := cacheAndModule(t)
	b := builderFixture{registry: registrytest.Start(t), roots: map[string]string{}, envs: map[string][]string{}}
	begun := time.Now()
	var err error
	b.ref, err = buildpacks.Create(t.Context(), buildpacks.WithLanguages(buildpacks.Options{Module: module, Cache: cache, Registry: b.registry.Registry}, more...))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("builder made in %s", time.Since(begun).Round(time.Millisecond))
	b.platform = incluster.Platform{Registry: b.registry.Host, BuilderImage: b.ref.String(), Resources: incluster.DefaultResources()}
	b.platform.FetchImage = b.pushFetch(t, cache, module)
	for _, image := range []string{b.platform.BuilderImage, b.platform.FetchImage} {
		img := b.pull(t, image)
		_, config := configOf(t, img)
		b.envs[image] = config.Env
		b.roots[image] = unpack(t, img, "workspace", "layers", "analyzed", "knit", "home/build", "platform/env", "registry-credentials", "registry-ca", "volumes/workspace", "volumes/layers")
		writeFile(t, filepath.Join(b.roots[image], "dev", "termination-log"), nil)
		// What this machine has set up to reach package registries.
		for _, file := range []string{"etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"} {
			copyFile(t, "/"+file, filepath.Join(b.roots[image], file))
		}
	}
	return b
}

// pushFetch makes the image of a build's first phase, as the installation does.
func (b builderFixture) pushFetch(t *testing.T, cache *images.Cache, module string) string {
	t.Helper()
	built, err := images.Commands(t.Context(), cache, nil, []images.Command{{Name: "knit/fetch", Package: "github.com/knit-dev/knit/builder/fetch", Dir: module}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := b.registry.Push(t.Context(), "knit/fetch", built["knit/fetch"])
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

// image is where the images of a function go.
func (b builderFixture) image(function string) string {
	return b.registry.Host + "/" + tenant + "/" + function + ":latest"
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

// build runs the containers of the pod that package incluster describes, with
// its volumes. It returns everything they printed and the container that
// failed, if one did.
func (b builderFixture) build(t *testing.T, function, source string, env map[string]string) (output, failed string) {
	t.Helper()
	build := &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: function, UID: "1"}}
	build.Spec = v1alpha1.BuildSpec{Function: function, Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: b.pushSource(t, source)}}}
	// The platform says where the function is, not the user.
	build.Spec.Source.Archive.Path = env["KNIT_FUNCTION_PATH"]
	for _, key := range slices.Sorted(maps.Keys(env)) {
		build.Spec.Env = append(build.Spec.Env, v1alpha1.BuildEnv{Name: key, Value: env[key]})
	}
	pod := incluster.MakePod(build, b.platform, "pod")
	volumes := b.volumes(t, pod)
	var all, times strings.Builder
	begun := time.Now()
	for _, spec := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		start := time.Now()
		c := b.container(t, spec, volumes)
		// What runs a tenant's code needs no network here, unless the test says so.
		out, err := c.run(t, !b.online && spec.Name == string(v1alpha1.PhaseBuild))
		fmt.Fprintf(&times, " %s %s", spec.Name, time.Since(start).Round(time.Millisecond))
		fmt.Fprintf(&all, "=== %s\n%s", spec.Name, out)
		if err != nil {
			return all.String(), spec.Name
		}
	}
	t.Logf("%s built in %s:%s", function, time.Since(begun).Round(time.Millisecond), times.String())
	return all.String(), ""
}

// container is what the kubelet would start.
func (b builderFixture) container(t *testing.T, spec corev1.Container, volumes map[string]string) container {
	t.Helper()
	c := container{
		Root: b.roots[spec.Image], User: int(*spec.SecurityContext.RunAsUser), Dir: "/",
		Args: slices.Concat(spec.Command, spec.Args), Env: slices.Clone(b.envs[spec.Image]), Volumes: map[string]mount{},
	}
	if len(spec.Command) == 0 {
		_, config := configOf(t, b.pull(t, spec.Image))
		c.Args = slices.Concat(config.Entrypoint, spec.Args)
	}
	for _, e := range spec.Env {
		c.Env = append(c.Env, e.Name+"="+e.Value)
	}
	for _, m := range spec.VolumeMounts {
		c.Volumes[m.MountPath] = mount{From: filepath.Join(volumes[m.Name], m.SubPath), ReadOnly: m.ReadOnly}
	}
	message := filepath.Join(t.TempDir(), "message")
	writeFile(t, message, nil)
	giveTo(t, message, c.User)
	c.Volumes[spec.TerminationMessagePath] = mount{From: message}
	return c
}

// volumes makes the folders that the pod's containers share.
func (b builderFixture) volumes(t *testing.T, pod *corev1.Pod) map[string]string {
	t.Helper()
	folders := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		dir := t.TempDir()
		switch {
		case v.Secret != nil:
			copyFile(t, b.registry.LoginFile, filepath.Join(dir, v.Secret.Items[0].Path))
		case v.ConfigMap != nil:
			copyFile(t, b.registry.CAFile, filepath.Join(dir, "ca.crt"))
		case v.DownwardAPI != nil:
			for _, item := range v.DownwardAPI.Items {
				key := strings.TrimSuffix(strings.TrimPrefix(item.FieldRef.FieldPath, "metadata.annotations['"), "']")
				writeFile(t, filepath.Join(dir, item.Path), []byte(pod.Annotations[key]))
			}
		}
		giveTo(t, dir, int(*pod.Spec.SecurityContext.FSGroup))
		if v.EmptyDir != nil { // as the kubelet makes them
			if err := errors.Join(os.Chown(dir, 0, int(*pod.Spec.SecurityContext.FSGroup)), os.Chmod(dir, 0o777|os.ModeSetgid)); err != nil {
				t.Fatal(err)
			}
		}
		folders[v.Name] = dir
	}
	return folders
}

// pushSource packs a folder and stores it where the function service does.
func (b builderFixture) pushSource(t *testing.T, source string) string {
	t.Helper()
	var packed bytes.Buffer
	if _, err := archive.Pack(source, &packed); err != nil {
		t.Fatal(err)
	}
	repository, err := b.registry.Repository(tenant + "/sources")
	if err != nil {
		t.Fatal(err)
	}
	options, done := b.registry.Remote(t.Context())
	defer done()
	layer := static.NewLayer(packed.Bytes(), archive.MediaType)
	if err := remote.WriteLayer(repository, layer, options...); err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func (b builderFixture) mustBuild(t *testing.T, function, source string, env map[string]string) v1.Image {
	t.Helper()
	if output, failed := b.build(t, function, source, env); failed != "" {
		t.Fatalf("phase %s failed:\n%s", failed, output)
	}
	return b.pull(t, b.image(function))
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
