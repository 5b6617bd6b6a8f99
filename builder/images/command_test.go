package images

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const mainGo = "package main\n\nfunc main() { println(%q) }\n"

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testModule makes a module folder with two own programs of one name and one
// foreign program that comes from a module proxy on disk.
func testModule(t *testing.T) string {
	t.Helper()
	proxy, dir := t.TempDir(), t.TempDir()
	at := filepath.Join(proxy, "example.test", "foreign", "@v")
	write(t, filepath.Join(at, "list"), "v1.0.0\n")
	write(t, filepath.Join(at, "v1.0.0.info"), `{"Version":"v1.0.0"}`)
	write(t, filepath.Join(at, "v1.0.0.mod"), "module example.test/foreign\n\ngo 1.24\n")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"go.mod":                 "module example.test/foreign\n\ngo 1.24\n",
		"cmd/controller/main.go": fmt.Sprintf(mainGo, "foreign"),
	} {
		w, err := z.Create("example.test/foreign@v1.0.0/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at, "v1.0.0.zip"), b.String())

	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOPROXY", "file://"+proxy)
	t.Setenv("GONOSUMDB", "*")
	t.Setenv("GOFLAGS", "-modcacherw")
	write(t, filepath.Join(dir, "go.mod"), "module example.test/own\n\ngo 1.24\n\nrequire example.test/foreign v1.0.0\n\ntool example.test/foreign/cmd/controller\n")
	write(t, filepath.Join(dir, "a", "controller", "main.go"), fmt.Sprintf(mainGo, "a"))
	write(t, filepath.Join(dir, "b", "controller", "main.go"), fmt.Sprintf(mainGo, "b"))
	cmd := exec.Command("go", "mod", "download", "all")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func testBase(t *testing.T, c *Cache) v1.Image {
	t.Helper()
	l, err := c.layer(t.Context(), "base", gzipped, hello)
	if err != nil {
		t.Fatal(err)
	}
	img, err := assemble(emptyImage(), v1.Config{Env: []string{"PATH=/bin"}}, l)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestCommandsBuildWhatChangedAndNothingElse(t *testing.T) {
	dir, c := testModule(t), openTestCache(t)
	base := testBase(t, c)
	data := t.TempDir()
	write(t, filepath.Join(data, "HEAD"), "abc")
	cmds := []Command{
		{Name: "a", Package: "example.test/own/a/controller", Dir: dir},
		{Name: "b", Package: "example.test/own/b/controller", Dir: dir, User: "0"},
		{Name: "f", Package: "example.test/foreign/cmd/controller", Dir: dir, Files: map[string]string{"/var/run/ko": data}},
	}
	build := func(c *Cache) map[string]string {
		t.Helper()
		var told []string
		imgs, err := commandsOn(t.Context(), c, base, func(n string) { told = append(told, n) }, cmds)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(told)
		if diff := cmp.Diff([]string{"a", "b", "f"}, told); diff != "" {
			t.Errorf("progress: %s", diff)
		}
		digests := map[string]string{}
		for name, img := range imgs {
			checkImage(t, img)
			digests[name] = digestOf(t, img).String()
		}
		checkConfig(t, imgs)
		return digests
	}
	first := build(c)
	if first["a"] == first["b"] || first["b"] == first["f"] {
		t.Errorf("programs of one name were mixed up: %v", first)
	}
	if diff := cmp.Diff(first, build(c)); diff != "" {
		t.Errorf("second build differs: %s", diff)
	}
	if diff := cmp.Diff(first, build(openTestCache(t))); diff != "" {
		t.Errorf("build with an empty cache differs: %s", diff)
	}
	write(t, filepath.Join(dir, "a", "controller", "main.go"), fmt.Sprintf(mainGo, "changed"))
	changed := build(c)
	if changed["a"] == first["a"] || changed["b"] != first["b"] || changed["f"] != first["f"] {
		t.Errorf("after a change of a: %v, before: %v", changed, first)
	}
}

func checkConfig(t *testing.T, imgs map[string]v1.Image) {
	t.Helper()
	for name, want := range map[string]struct {
		user string
		env  []string
	}{
		"a": {"65532", []string{"PATH=/bin"}},
		"b": {"0", []string{"PATH=/bin"}},
		"f": {"65532", []string{"PATH=/bin", "KO_DATA_PATH=/var/run/ko"}},
	} {
		file, err := imgs[name].ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.env, file.Config.Env); diff != "" || file.Config.User != want.user {
			t.Errorf("%s: user %q, env %s", name, file.Config.User, diff)
		}
		if h := imageFiles(t, imgs[name])[file.Config.Entrypoint[0]]; h == nil || h.Mode != 0o755 || !h.ModTime.IsZero() && h.ModTime.Unix() != 0 {
			t.Errorf("%s: entrypoint %v is %+v", name, file.Config.Entrypoint, h)
		}
	}
	if imageFiles(t, imgs["f"])["/var/run/ko/HEAD"] == nil {
		t.Error("extra file is missing")
	}
}

func TestForeignCommandsNeedNoGoBuildTwice(t *testing.T) {
	dir, c := testModule(t), openTestCache(t)
	base := testBase(t, c)
	cmds := []Command{{Name: "f", Package: "example.test/foreign/cmd/controller", Dir: dir}}
	if _, err := commandsOn(t.Context(), c, base, nil, cmds); err != nil {
		t.Fatal(err)
	}
	// Without the module's source a build cannot succeed.
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOPROXY", "off")
	if _, err := commandsOn(t.Context(), c, base, nil, cmds); err != nil {
		t.Fatal(err)
	}
}

func TestCommandsReportMistakes(t *testing.T) {
	dir, c := testModule(t), openTestCache(t)
	base := testBase(t, c)
	write(t, filepath.Join(dir, "broken", "main.go"), "package main\n\nfunc main() { undefinedName() }\n")
	for reason, in := range map[string]struct {
		cmds []Command
		want string
	}{
		"compile error": {[]Command{{Name: "x", Package: "example.test/own/broken", Dir: dir}}, "undefinedName"},
		"no module":     {[]Command{{Name: "x", Package: "p", Dir: t.TempDir()}}, "go.mod"},
		"relative path": {[]Command{{Name: "x", Package: "./a", Dir: dir}}, "import path"},
		"name twice":    {[]Command{{Name: "x", Package: "p", Dir: dir}, {Name: "x", Package: "q", Dir: dir}}, "listed twice"},
		"empty":         {[]Command{{Package: "p", Dir: dir}}, "must be set"},
	} {
		_, err := commandsOn(t.Context(), c, base, nil, in.cmds)
		if err == nil || !strings.Contains(err.Error(), in.want) {
			t.Errorf("%s: error %v, want %q", reason, err, in.want)
		}
	}
}

func TestBinaryName(t *testing.T) {
	for pkg, want := range map[string]string{"a/cmd/x": "x", "a/x/v2": "x", "v2": "v2", "a/v2x": "v2x"} {
		if got := (Command{Package: pkg}).binary(); got != want {
			t.Errorf("%s: %q, want %q", pkg, got, want)
		}
	}
}
