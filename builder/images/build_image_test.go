package images

import (
	"archive/tar"
	"errors"
	"go/build"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
)

func TestRunStatic(t *testing.T) {
	needApt(t)
	img, err := RunStatic(t.Context(), openTestCache(t))
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != "65532:65532" {
		t.Errorf("user %q", file.Config.User)
	}
	for _, want := range []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000", "SSL_CERT_FILE=" + certificatesPath} {
		if !slices.Contains(file.Config.Env, want) {
			t.Errorf("environment %q lacks %s", file.Config.Env, want)
		}
	}
}

func TestToolsLayer(t *testing.T) {
	needApt(t)
	layer, err := toolsLayer(t.Context(), openTestCache(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	found := readTar(t, stream)
	if busybox := found["bin/busybox"]; busybox.Mode != 0o755 || busybox.Size < 1e6 {
		t.Errorf("busybox is %+v", busybox)
	}
	if sh := found["bin/sh"]; sh.Typeflag != tar.TypeSymlink || sh.Linkname != "busybox" {
		t.Errorf("sh is %+v", sh)
	}
	if home := found["home/cnb/"]; home.Uid != 1000 || home.Gid != 1000 {
		t.Errorf("the build user's home is %+v", home)
	}
}

func readTar(t *testing.T, stream io.Reader) map[string]tar.Header {
	t.Helper()
	found := map[string]tar.Header{}
	entries := tar.NewReader(stream)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = *header
	}
}

func TestBuildsNeed(t *testing.T) {
	cases := map[string]struct {
		name string
		dir  bool
		want bool
	}{
		"the go command":           {"bin/go", false, true},
		"the formatter":            {"bin/gofmt", false, false},
		"sources":                  {"src/net/http/server.go", false, true},
		"assembly":                 {"src/runtime/asm_amd64.s", false, true},
		"vendored sources":         {"src/vendor", true, true},
		"tests":                    {"src/net/http/server_test.go", false, false},
		"test data":                {"src/net/http/testdata", true, false},
		"sources of the toolchain": {"src/cmd", true, false},
		"headers":                  {"pkg/include/textflag.h", false, true},
		"this machine's tools":     {"pkg/tool/linux_" + build.Default.GOARCH, true, true},
		"another machine's tools":  {"pkg/tool/plan9_386", true, false},
		"the compiler":             {"pkg/tool/linux_" + build.Default.GOARCH + "/compile", false, true},
		"vet":                      {"pkg/tool/linux_" + build.Default.GOARCH + "/vet", false, false},
		"documentation":            {"doc/go_spec.html", false, false},
		"the version":              {"VERSION", false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := buildsNeed(c.name, c.dir); got != c.want {
				t.Errorf("%s: %t, want %t", c.name, got, c.want)
			}
		})
	}
}

func TestPackLifecycle(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lifecycle", "launcher"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "lifecycle.tgz")
	if err := packLifecycle(archive, dir, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	entries := readTar(t, plain)
	for _, phase := range []string{"analyzer", "detector", "restorer", "builder", "exporter", "creator"} {
		if entry := entries["lifecycle/"+phase]; entry.Linkname != "lifecycle" {
			t.Errorf("%s is %+v", phase, entry)
		}
	}
	if entries["lifecycle/launcher"].Mode != 0o755 || entries["lifecycle.toml"].Size == 0 {
		t.Errorf("entries %v", entries)
	}
}

func TestLifecycleDescriptor(t *testing.T) {
	var parsed struct {
		Lifecycle struct{ Version string }
		APIs      map[string]struct{ Supported, Deprecated []string }
		API       map[string]string
	}
	if err := toml.Unmarshal([]byte(lifecycleDescriptor("1.2.3")), &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.Lifecycle.Version != "1.2.3" {
		t.Errorf("version %q", parsed.Lifecycle.Version)
	}
	// The Go buildpack and the build pods speak these.
	if !slices.Contains(parsed.APIs["buildpack"].Supported, "0.10") || !slices.Contains(parsed.APIs["platform"].Supported, "0.14") {
		t.Errorf("APIs %v", parsed.APIs)
	}
	if diff := cmp.Diff(map[string]string{"platform": "0.7", "buildpack": "0.7"}, parsed.API); diff != "" {
		t.Error(diff)
	}
}
