package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPythonRun(t *testing.T) {
	needApt(t)
	c := openTestCache(t)
	img, err := PythonRun(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
	files := imageFiles(t, img)
	size := int64(0)
	for _, h := range files {
		size += h.Size
	}
	if size > 50e6 {
		t.Errorf("the Python base is %d bytes, want at most 50 MB", size)
	}
	for name, want := range map[string]bool{
		"/usr/bin/python3": true, "/usr/lib/python3.11/asyncio/__pycache__/events.cpython-311.pyc": true,
		"/opt/knit/python/lib/h11/__pycache__/_connection.cpython-311.pyc": true, "/etc/ssl/certs/ca-certificates.crt": true,
		"/usr/share/doc/libc6/copyright": true,
		"/bin/sh":                        false, "/usr/bin/dpkg": false, "/usr/lib/python3.11/idlelib/__init__.py": false,
		"/usr/lib/python3.11/sitecustomize.py": false, "/opt/knit/python/lib/h11/tests/__init__.py": false,
	} {
		if _, ok := files[name]; ok != want {
			t.Errorf("%s is in the base: %t, want %t", name, ok, want)
		}
	}

	// A second cache, with the same packages, gives the same image.
	again := openTestCache(t)
	if err := os.CopyFS(again.path("debs"), os.DirFS(c.path("debs"))); err != nil {
		t.Fatal(err)
	}
	second, err := PythonRun(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, img), digestOf(t, second); a != b {
		t.Errorf("two caches made %v and %v", a, b)
	}
}

// TestPythonWorks: what functions and their packages link with is in the base.
func TestPythonWorks(t *testing.T) {
	needApt(t)
	c := openTestCache(t)
	debs, err := fetchDebs(t.Context(), c, pythonPackages...)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := unpackPython(root, debs); err != nil {
		t.Fatal(err)
	}
	loader, err := findLoader(root)
	if err != nil {
		t.Fatal(err)
	}
	const program = `
import asyncio, bz2, ctypes, decimal, hashlib, lzma, multiprocessing, sqlite3, ssl, unittest.mock, uuid, venv, zlib, zoneinfo
ssl.create_default_context()
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
assert ctypes.CDLL("libc.so.6").abs(-3) == 3
ctypes.CDLL("libstdc++.so.6")
assert asyncio.run(asyncio.sleep(0, "done")) == "done"
hashlib.scrypt(b"x", salt=b"y", n=2, r=1, p=1)
print("fine")
`
	cmd := exec.CommandContext(t.Context(), loader, "--library-path",
		filepath.Dir(loader)+":"+filepath.Join(root, "usr/lib", filepath.Base(filepath.Dir(loader))),
		filepath.Join(root, "usr/bin/python"+PythonVersion), "-P", "-c", program)
	cmd.Env = []string{"PYTHONHOME=" + filepath.Join(root, "usr"), "PYTHONDONTWRITEBYTECODE=1"}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "fine" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPythonBuildLayers(t *testing.T) {
	needApt(t)
	layers, err := pythonBuildLayers(t.Context(), openTestCache(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layers[1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	found := readTar(t, stream)
	for _, name := range []string{"opt/knit/python/pip/pip/__main__.py", "opt/knit/python/pip/pip/__pycache__/__main__.cpython-311.pyc"} {
		if _, ok := found[name]; !ok {
			t.Errorf("the layer of pip lacks %s", name)
		}
	}
	if _, ok := found["usr/bin/python3"]; ok {
		t.Error("the layer of pip holds Python too")
	}
}
