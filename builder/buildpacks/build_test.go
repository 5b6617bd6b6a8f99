package buildpacks_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/builder/buildpacks"
)

const helloSample = "../../samples/hello"

// TestBuilder makes the real builder once and builds functions with it, each
// phase of the lifecycle in an unprivileged container of its own.
func TestBuilder(t *testing.T) {
	b := newBuilder(t, tiny(t))
	t.Run("says what it is", b.testInspect)
	t.Run("builds the sample, again, and changed", b.testHello)
	t.Run("builds an event function without go.mod", b.testEventWithoutModule)
	t.Run("builds a function with an old language version", b.testOldModule)
	t.Run("builds a function with a vendor folder", b.testVendored)
	t.Run("keeps files that are asked for", b.testKeep)
	t.Run("builds a function beside and below what it shares", b.testShared)
	t.Run("gives every language the SDK", b.testSDK)
	t.Run("says what is wrong", b.testErrors)
	t.Run("puts a language on the run base that it asks for", b.testRunBase)
	t.Run("gives detect no image that the builder does not offer", b.testForeignRunImage)
	t.Run("builds a mixed folder in a stated order", b.testOrder)
}

func (b builderFixture) testInspect(t *testing.T) {
	got, err := buildpacks.Inspect(t.Context(), b.registry.Registry, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Image != b.ref.String() || got.Lifecycle != "0.20.11" || !slices.Equal(got.Buildpacks, []string{"knit/go@0.1.0", "knit/node@0.1.0", "knit/python@0.1.0", "test/tiny@1.2.3"}) ||
		!slices.Equal(got.Extensions, []string{"knit/run-node@0.1.0", "knit/run-python@0.1.0", "knit/run-tiny@0.1.0"}) || !strings.Contains(got.BuildImage, "/knit/build@sha256:") {
		t.Errorf("inspect says %+v, the builder is %s", got, b.ref)
	}
	if len(got.RunImages) != 4 || !strings.Contains(got.RunImages[0].Image, "/knit/run-static@sha256:") ||
		got.RunImages[1].Size == 0 || got.Size <= got.RunImages[1].Size {
		t.Errorf("inspect says %+v of the run images, and that the builder has %d bytes", got.RunImages, got.Size)
	}
	if _, err := buildpacks.Inspect(t.Context(), b.registry.Registry, b.registry.Host+"/no/such:image"); err == nil || !strings.Contains(err.Error(), "knit builder create") {
		t.Errorf("a missing builder gives %v", err)
	}
}

func (b builderFixture) testHello(t *testing.T) {
	const function = "hello"
	first := b.mustBuild(t, function, helloSample, nil)
	checkFunctionImage(t, first)
	f := start(t, first)
	if resp, body := f.post(t, ""); resp.StatusCode != http.StatusOK || body != "Hello from Knit!\n" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	resp, body := f.post(t, "{}", "Ce-Specversion: 1.0", "Ce-Type: dev.knit.hello", "Ce-Source: /test", "Ce-Id: 42")
	if resp.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("the event got %d %q", resp.StatusCode, body)
	}
	waitFor(t, "the event in the log", func() bool {
		return strings.Contains(f.log(), `"type":"dev.knit.hello","source":"/test","id":"42"`)
	})

	if again := b.mustBuild(t, function, helloSample, nil); digestOf(t, again) != digestOf(t, first) {
		t.Error("the same source gave another image")
	}
	changed := copySource(t, helloSample)
	replaceIn(t, filepath.Join(changed, "hello.go"), "Hello from Knit!", "Good day!")
	if _, body := start(t, b.mustBuild(t, function, changed, nil)).post(t, ""); body != "Good day!\n" {
		t.Errorf("the changed function answers %q", body)
	}
}

// checkFunctionImage looks at what an image must and must not hold.
func checkFunctionImage(t *testing.T, img v1.Image) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != "65532:65532" || !slices.Equal(file.Config.Entrypoint, []string{"/cnb/process/web"}) {
		t.Errorf("user %q, entrypoint %q", file.Config.User, file.Config.Entrypoint)
	}
	for label, want := range map[string]string{"dev.knit.language": "go", "dev.knit.function.kind": "http"} {
		if got := file.Config.Labels[label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	root := unpack(t, img)
	if left, err := os.ReadDir(filepath.Join(root, "workspace")); err != nil || len(left) != 0 {
		t.Errorf("source is left in the image: %v (%v)", left, err)
	}
	boms, err := filepath.Glob(filepath.Join(root, "layers/sbom/launch/knit_go/function/sbom.cdx.json"))
	if err != nil || len(boms) != 1 {
		t.Errorf("bill of materials: %v (%v)", boms, err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, layer := range layers {
		n, err := layer.Size()
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	t.Logf("the image has %.1f MB, compressed", float64(size)/1e6)
	if size > 10e6 {
		t.Errorf("the image has %d bytes, want less than 10 MB", size)
	}
}

const eventFunction = `package function

import (
	"context"

	"github.com/cloudevents/sdk-go/v2/event"
)

func Handle(_ context.Context, in event.Event) (*event.Event, error) {
	out := event.New()
	out.SetID("re-" + in.ID())
	out.SetType("reply")
	out.SetSource("/function")
	return &out, nil
}
`

func (b builderFixture) testEventWithoutModule(t *testing.T) {
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "f.go"), []byte(eventFunction))
	checkReply(t, start(t, b.mustBuild(t, "event", source, nil)))
}

func checkReply(t *testing.T, f running) {
	t.Helper()
	resp, body := f.post(t, `{"specversion":"1.0","id":"7","type":"t","source":"/s"}`, "Content-Type: application/cloudevents+json")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Ce-Id") != "re-7" || resp.Header.Get("Ce-Type") != "reply" {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if resp, _ := f.post(t, "[]", "Content-Type: application/cloudevents-batch+json"); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a batch got %d", resp.StatusCode)
	}
}

// testVendored: a module of another name and a vendor folder that holds no
// more of the SDK than the function imports.
func (b builderFixture) testVendored(t *testing.T) {
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "f.go"), []byte(eventFunction))
	writeFile(t, filepath.Join(source, "go.mod"), []byte("module example.com/some/handler\n\ngo 1.23.0\n\nrequire github.com/cloudevents/sdk-go/v2 v2.16.1\n"))
	for _, args := range [][]string{{"mod", "tidy"}, {"mod", "vendor"}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v: %s", args, err, out)
		}
	}
	checkReply(t, start(t, b.mustBuild(t, "vendored", source, nil)))
}

// testOldModule: the language version of the user's go.mod holds for the user's
// code only; the runtime around it is newer.
func (b builderFixture) testOldModule(t *testing.T) {
	source := copySource(t, helloSample)
	writeFile(t, filepath.Join(source, "go.mod"), []byte("module example.com/old\n\ngo 1.18\n"))
	replaceIn(t, filepath.Join(source, "hello.go"), "log/slog", "log")
	replaceIn(t, filepath.Join(source, "hello.go"), "slog.Info", "log.Println")
	if err := os.Remove(filepath.Join(source, "hello_test.go")); err != nil {
		t.Fatal(err)
	}
	f := start(t, b.mustBuild(t, "old", source, nil))
	f.post(t, "", "Ce-Specversion: 1.0", "Ce-Type: t", "Ce-Source: /s", "Ce-Id: 1")
	waitFor(t, "log.Println as JSON in the log", func() bool { return strings.Contains(f.log(), `"msg":"event received type t`) })
}

// testShared: the function's folder is below the source's root. Its module is
// above it, or it has one that names another beside it.
func (b builderFixture) testShared(t *testing.T) {
	const handler = "package %s\n\nimport (\n\t\"io\"\n\t\"net/http\"\n\n\t\"example.com/shop/shared\"\n)\n\nfunc Handle(w http.ResponseWriter, r *http.Request) { io.WriteString(w, shared.Word) }\n"
	const shared = "package shared\n\nconst Word = \"shared word\"\n"
	cases := map[string]map[string]string{
		"above": {
			"go.mod": "module example.com/shop\n\ngo 1.24\n", "apps/order/f.go": fmt.Sprintf(handler, "order"), "shared/s.go": shared,
		},
		"beside": {
			"apps/order/go.mod": "module order\n\ngo 1.24\n\nrequire example.com/shop/shared v0.0.0\n\nreplace example.com/shop/shared => ../../shared\n",
			"apps/order/f.go":   fmt.Sprintf(handler, "order"), "shared/go.mod": "module example.com/shop/shared\n\ngo 1.24\n", "shared/s.go": shared,
		},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			for file, content := range files {
				writeFile(t, filepath.Join(source, file), []byte(content))
			}
			writeFile(t, filepath.Join(source, "apps/order/static/page.html"), []byte("<p>"))
			img := b.mustBuild(t, "shared-"+name, source, map[string]string{"KNIT_FUNCTION_PATH": "apps/order", "BP_KEEP_FILES": "static"})
			if _, body := start(t, img).post(t, ""); body != "shared word" {
				t.Errorf("it answers %q", body)
			}
			root := unpack(t, img)
			if _, err := os.Stat(filepath.Join(root, "workspace/apps/order/static/page.html")); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(root, "workspace/shared")); err == nil {
				t.Error("the shared source is left in the image")
			}
		})
	}
}

func (b builderFixture) testKeep(t *testing.T) {
	source := copySource(t, helloSample)
	writeFile(t, filepath.Join(source, "static", "page.html"), []byte("<p>"))
	root := unpack(t, b.mustBuild(t, "keep", source, map[string]string{"BP_KEEP_FILES": "static/*.html:knit.yaml"}))
	for name, want := range map[string]bool{"static/page.html": true, "knit.yaml": true, "hello.go": false} {
		if _, err := os.Stat(filepath.Join(root, "workspace", name)); (err == nil) != want {
			t.Errorf("%s: kept %t, want %t", name, err == nil, want)
		}
	}
}

func (b builderFixture) testErrors(t *testing.T) {
	cases := map[string]struct {
		files map[string]string
		env   map[string]string
		phase string
		want  []string
	}{
		"the compiler's words": {
			files: map[string]string{"f.go": "package function\n\nimport \"net/http\"\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {\n\tundefinedThing()\n}\n"},
			phase: "build", want: []string{"./f.go:6:2: undefined: undefinedThing", "does not compile"},
		},
		"a module that is not there": {
			files: map[string]string{"f.go": "package function\n\nimport (\n\t\"net/http\"\n\n\t_ \"example.com/nowhere\"\n)\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {}\n"},
			phase: "build", want: []string{"f.go:6:2", "example.com/nowhere"},
		},
		"a wrong signature": {
			files: map[string]string{"f.go": "package function\n\nfunc Handle() {}\n"},
			phase: "build", want: []string{"f.go:3:1", "func Handle(w http.ResponseWriter, r *http.Request)"},
		},
		"no Go where Go is said": {
			files: map[string]string{"index.js": ""}, env: map[string]string{"KNIT_LANGUAGE": "go"},
			phase: "build", want: []string{"no Go files", "spec.source.path"},
		},
		"another language": {
			files: map[string]string{"f.go": "package function\n\nfunc Handle() {}\n"}, env: map[string]string{"KNIT_LANGUAGE": "node"},
			phase: "build", want: []string{"No buildpack groups passed detection"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			for file, content := range c.files {
				writeFile(t, filepath.Join(source, file), []byte(content))
			}
			output, failed := b.build(t, "broken", source, c.env)
			if failed != c.phase {
				t.Errorf("phase %q failed, want %q", failed, c.phase)
			}
			for _, want := range c.want {
				if !strings.Contains(output, want) {
					t.Errorf("the output does not say %q:\n%s", want, output)
				}
			}
		})
	}
}

func copySource(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func replaceIn(t *testing.T, name, old, with string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("%s does not hold %q", name, old)
	}
	writeFile(t, name, []byte(strings.ReplaceAll(string(content), old, with)))
}

func digestOf(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no sign of %s within 5 s", what)
		}
	}
}
