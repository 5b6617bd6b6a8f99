package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// sharedCache is the machine's own, so that Node is downloaded once. It is
// images/registrytest.CacheDir, which cannot be imported here.
func sharedCache(t *testing.T) *Cache {
	t.Helper()
	dir := os.Getenv("KNIT_CACHE_DIR")
	if dir == "" {
		dir = "/var/cache/knit"
	}
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNodeRun(t *testing.T) {
	needApt(t)
	c := sharedCache(t)
	img, err := NodeRun(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
	files := imageFiles(t, img)
	size := int64(0)
	for _, h := range files {
		size += h.Size
	}
	t.Logf("the run image of Node has %.1f MB", float64(size)/1e6)
	if size > 130e6 {
		t.Errorf("the run image of Node has %d bytes, want at most 130 MB", size)
	}
	if node := files[nodePath]; node == nil || node.Mode != 0o755 {
		t.Errorf("%s is %+v", nodePath, node)
	}
	for _, absent := range []string{"/bin/sh", npmPath, "/usr/share/doc"} {
		if files[absent] != nil {
			t.Errorf("%s is in the image", absent)
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != "65532:65532" || !slices.Contains(file.Config.Env, "CNB_USER_ID=1000") {
		t.Errorf("user %q, environment %q", file.Config.User, file.Config.Env)
	}

	// A second cache, with the same packages, gives the same image.
	again := openTestCache(t)
	for _, sub := range []string{"debs", "npm"} {
		if err := os.CopyFS(again.path(sub), os.DirFS(c.path(sub))); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	img2, err := NodeRun(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, img), digestOf(t, img2); a != b {
		t.Errorf("two caches made %v and %v", a, b)
	}
}

// TestNodeIsWhatItSays: the stripped program runs, and the libraries of the image
// are all that it is linked with.
func TestNodeIsWhatItSays(t *testing.T) {
	node, err := NodePath(t.Context(), sharedCache(t))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "-p", "process.version + crypto.createHash('sha256').update('a').digest('hex')").CombinedOutput()
	if want := "v" + nodeVersion + "ca978112ca1b"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("got %q (%v), want %s", out, err, want)
	}
}

// npmArchive packs files as the registry does.
func npmArchive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	tw := tar.NewWriter(z)
	for name, content := range files {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFetchNPMComparesTheSum(t *testing.T) {
	archive := npmArchive(t, map[string]string{"package/bin/node": "program"})
	sum := sha512.Sum512(archive)
	good := npmPackage{Name: "@scope/thing", Version: "1.2.3", SHA512: base64.StdEncoding.EncodeToString(sum[:])}
	bad := good
	bad.SHA512 = "bm90IHRoaXM="
	asked := 0
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/prefix/@scope/thing/-/thing-1.2.3.tgz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(archive)
	}))
	defer registry.Close()
	t.Setenv(npmRegistryVariable, registry.URL+"/prefix/")
	c := openTestCache(t)
	if _, err := fetchNPM(t.Context(), c, bad); err == nil || !strings.Contains(err.Error(), "sha512") {
		t.Errorf("a wrong sum gives %v", err)
	}
	for range 2 {
		path, err := fetchNPM(t.Context(), c, good)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := nodeFrom(path); err != nil || string(content) != "program" {
			t.Errorf("got %q (%v)", content, err)
		}
	}
	if asked != 2 {
		t.Errorf("the registry was asked %d times, want once for each sum", asked)
	}
	missing := good
	missing.Version = "9.9.9"
	if _, err := fetchNPM(t.Context(), c, missing); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), npmRegistryVariable) {
		t.Errorf("a version that is not there gives %v", err)
	}
	if left, err := os.ReadDir(c.path("tmp")); err != nil || len(left) > 0 {
		t.Errorf("parts are left behind: %v (%v)", left, err)
	}
}

// TestStrip cuts a program that has symbols, which then runs all the same.
func TestStrip(t *testing.T) {
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"runs\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	stripped, err := strip(whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(stripped) >= len(whole) {
		t.Errorf("%d bytes became %d", len(whole), len(stripped))
	}
	if err := os.WriteFile(program+"2", stripped, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program+"2").CombinedOutput(); err != nil || string(out) != "runs\n" {
		t.Errorf("got %q (%v)", out, err)
	}
	for reason, content := range map[string][]byte{"no program": []byte("#!/bin/sh"), "cut short": whole[:5000]} {
		if _, err := strip(content); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

func TestWriteLibraries(t *testing.T) {
	entries := []struct{ name, link, want string }{
		{"./lib/x86_64-linux-gnu/libc.so.6", "", "/lib/x86_64-linux-gnu/libc.so.6"},
		{"./usr/lib/x86_64-linux-gnu/libstdc++.so.6", "libstdc++.so.6.0.30", "/lib/x86_64-linux-gnu/libstdc++.so.6"},
		{"./lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"},
		{"./lib/x86_64-linux-gnu/libnsl.so.1", "", ""},
		{"./usr/lib/x86_64-linux-gnu/gconv/libGB.so", "", ""},
		{"./usr/share/gdb/libstdc++.so.6-gdb.py", "", ""},
		{"./usr/bin/ldd", "", ""},
	}
	var data bytes.Buffer
	tw := tar.NewWriter(&data)
	var want []string
	for _, e := range entries {
		header := tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}
		if e.link != "" {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, e.link, 0
		}
		if err := tw.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if e.link == "" {
			fmt.Fprint(tw, "x")
		}
		if e.want != "" {
			want = append(want, e.want)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(deb, makeDeb("data.tar", data.Bytes()), 0o644); err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := &layerWriter{tar: tar.NewWriter(&layer), seen: map[string]bool{}}
	if err := writeLibraries(w, deb); err != nil {
		t.Fatal(err)
	}
	if err := w.tar.Close(); err != nil {
		t.Fatal(err)
	}
	found := readTar(t, &layer)
	for _, name := range want {
		if _, ok := found[strings.TrimPrefix(name, "/")]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if loader := found["lib64/ld-linux-x86-64.so.2"]; loader.Linkname != "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" {
		t.Errorf("the loader is %+v", loader)
	}
	files := 0
	for _, header := range found {
		if header.Typeflag != tar.TypeDir {
			files++
		}
	}
	if files != len(want) {
		t.Errorf("%d files, want %d: %v", files, len(want), found)
	}
}
