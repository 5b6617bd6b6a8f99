package buildpacks_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const pythonTemplates = "../../runtime/lang/python/templates"

// TestPythonBuilder builds Python functions with the real builder, each phase
// of the lifecycle in an unprivileged container of its own.
func TestPythonBuilder(t *testing.T) {
	b := newBuilder(t)
	t.Run("builds the HTTP template", b.testPythonHTTP)
	t.Run("builds the event template, and its job", b.testPythonEvent)
	t.Run("installs 60 packages once", b.testPythonPackages)
	t.Run("installs from an index", b.testPythonIndex)
	t.Run("builds a function below shared folders", b.testPythonFolders)
	t.Run("says what is wrong", b.testPythonErrors)
}

func (b builderFixture) testPythonHTTP(t *testing.T) {
	first := b.mustBuild(t, "python-http", filepath.Join(pythonTemplates, "http"), nil)
	checkPythonImage(t, first)
	f := start(t, first)
	if resp, body := f.post(t, ""); resp.StatusCode != http.StatusOK || body != `{"message": "Hello from Knit!", "path": "/"}` {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if again := b.mustBuild(t, "python-http", filepath.Join(pythonTemplates, "http"), nil); digestOf(t, again) != digestOf(t, first) {
		t.Error("the same source gave another image")
	}
	// Under another name there is no former image, and everything is made anew.
	if other := b.mustBuild(t, "python-other", filepath.Join(pythonTemplates, "http"), nil); digestOf(t, other) != digestOf(t, first) {
		t.Error("the same source, made anew, gave another image")
	}
}

// checkPythonImage looks at what an image must and must not hold.
func checkPythonImage(t *testing.T, img v1.Image) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{"dev.knit.language": "python", "dev.knit.function.kind": "http", "dev.knit.python.version": "3.11", "io.buildpacks.base.id": "knit-python"} {
		if got := file.Config.Labels[label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	root := unpack(t, img)
	for name, want := range map[string]bool{
		"cnb/process/web": true, "cnb/process/job": true, "workspace/func.py": true, "workspace/__pycache__/func.cpython-311.pyc": true,
		"layers/knit_python/runtime/knit_runtime/__pycache__/server.cpython-311.pyc": true, "layers/sbom/launch/knit_python/runtime/sbom.cdx.json": true,
		"bin/sh": false, "usr/bin/python3": true, "usr/lib/python3.11/__pycache__/json.cpython-311.pyc": false,
	} {
		if _, err := os.Lstat(filepath.Join(root, name)); (err == nil) != want {
			t.Errorf("%s is in the image: %t, want %t", name, err == nil, want)
		}
	}
	var size int64
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		size += info.Size()
		if info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s can be written by others", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the image has %.1f MB, unpacked", float64(size)/1e6)
	if size > 60e6 {
		t.Errorf("the image has %d bytes, unpacked, want less than 60 MB", size)
	}
}

func (b builderFixture) testPythonEvent(t *testing.T) {
	img := b.mustBuild(t, "python-event", filepath.Join(pythonTemplates, "event"), nil)
	f := start(t, img)
	resp, body := f.post(t, `{"specversion":"1.0","id":"7","type":"t","source":"/s","data":{"a":1}}`, "Content-Type: application/cloudevents+json")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Ce-Type") != "com.example.reply" || resp.Header.Get("Ce-Subject") != "7" || body != `{"received": {"a": 1}}` {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	waitFor(t, "the event in the log", func() bool { return strings.Contains(f.log(), `"msg": "event 7 of type t from /s"`) })

	user, config := configOf(t, img)
	job := container{Root: unpack(t, img), User: user, Dir: config.WorkingDir, Args: []string{"/cnb/process/job"},
		Env: append(config.Env, `KNIT_JOB_DATA={"row":3}`)}
	out, err := job.run(t, true)
	if err != nil || !strings.Contains(out, "of type dev.knit.job") || !strings.Contains(out, `"msg": "job succeeded"`) {
		t.Errorf("the job ended with %v: %s", err, out)
	}
	// The template's own test, by the Python of the image.
	test := container{Root: unpack(t, img), User: user, Dir: "/workspace", Args: []string{"/usr/bin/python3", "-m", "unittest"},
		Env: append(config.Env, "PYTHONPATH=/layers/knit_python/runtime:/layers/knit_python/runtime/stand_in")}
	if out, err := test.run(t, true); err != nil || !strings.Contains(out, "Ran 1 test") {
		t.Errorf("the template's test: %v: %s", err, out)
	}
}

// packages is how many wheels the test of dependencies makes.
const packages = 60

// wheel is a minimal one of the package with the given number
// (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
func wheel(t *testing.T, number int) (name string, content []byte) {
	t.Helper()
	module := fmt.Sprintf("pack%d", number)
	info := module + "-1.0.dist-info/"
	files := []struct{ name, content string }{
		{module + "/__init__.py", fmt.Sprintf("number = %d\n", number)},
		{module + "/more.py", strings.Repeat(fmt.Sprintf("def f%d(x):\n    return {x, 'a', 'b'}\n", number), 20)},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + module + "\nVersion: 1.0\n\nText: more\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
	}
	record := info + "RECORD,,\n"
	for _, f := range files {
		record += f.name + ",,\n"
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, f := range append(files, struct{ name, content string }{info + "RECORD", record}) {
		file, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return module + "-1.0-py3-none-any.whl", archive.Bytes()
}

// withPackages is a function that needs all packages, vendored.
func withPackages(t *testing.T) string {
	t.Helper()
	source := t.TempDir()
	var imports, wanted strings.Builder
	for i := range packages {
		name, content := wheel(t, i)
		writeFile(t, filepath.Join(source, "wheels", name), content)
		fmt.Fprintf(&imports, "import pack%d\n", i)
		fmt.Fprintf(&wanted, "pack%d==1.0\n", i)
	}
	fmt.Fprintf(&imports, "\ndef handle(request):\n    return 'sum %%d' %% sum(p.number for p in (pack0, pack%d))\n", packages-1)
	writeFile(t, filepath.Join(source, "func.py"), []byte(imports.String()))
	writeFile(t, filepath.Join(source, "requirements.txt"), []byte(wanted.String()))
	return source
}

func (b builderFixture) testPythonPackages(t *testing.T) {
	source := withPackages(t)
	output, failed := b.build(t, "packages", source, nil)
	if failed != "" || !strings.Contains(output, "Installed 60 packages of requirements.txt") {
		t.Fatalf("phase %q failed:\n%s", failed, output)
	}
	first := b.pull(t, b.image("packages"))
	if _, body := start(t, first).post(t, ""); body != "sum 59" {
		t.Errorf("got %q", body)
	}
	checkPackages(t, first)
	if other := b.mustBuild(t, "packages-again", source, nil); digestOf(t, other) != digestOf(t, first) {
		t.Error("the same packages, installed anew, gave another image")
	}

	replaceIn(t, filepath.Join(source, "func.py"), "'sum %d'", "'total %d'")
	output, failed = b.build(t, "packages", source, nil)
	if failed != "" || !strings.Contains(output, "Packages of requirements.txt are those of the previous image") {
		t.Fatalf("phase %q failed, or the packages were installed again:\n%s", failed, output)
	}
	changed := b.pull(t, b.image("packages"))
	if _, body := start(t, changed).post(t, ""); body != "total 59" {
		t.Errorf("got %q", body)
	}
	checkPackages(t, changed)

	replaceIn(t, filepath.Join(source, "requirements.txt"), "pack7==1.0\n", "")
	replaceIn(t, filepath.Join(source, "func.py"), "import pack7\n", "")
	fewer := b.mustBuild(t, "packages", source, nil)
	if _, err := os.Stat(filepath.Join(unpack(t, fewer), "layers/knit_python/dependencies/site-packages/pack7")); err == nil {
		t.Error("a package that is no longer asked for is still in the image")
	}
}

// checkPackages wants them compiled and described, and no wheels in the image.
func checkPackages(t *testing.T, img v1.Image) {
	t.Helper()
	root := unpack(t, img)
	content, err := os.ReadFile(filepath.Join(root, "layers/sbom/launch/knit_python/dependencies/sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		t.Fatal(err)
	}
	if len(bom.Components) != packages+1 || bom.Components[1].PURL != "pkg:pypi/pack0@1.0" {
		t.Errorf("bill of materials: %s", content)
	}
	site := filepath.Join(root, "layers/knit_python/dependencies/site-packages")
	if _, err := os.Stat(filepath.Join(site, "pack5/__pycache__/more.cpython-311.pyc")); err != nil {
		t.Error(err)
	}
	if wheels, err := filepath.Glob(filepath.Join(root, "workspace/wheels/*")); err != nil || len(wheels) > 0 {
		t.Errorf("wheels are left in the image: %v %v", wheels, err)
	}
}

// testPythonIndex: dependencies of pyproject.toml from an index on loopback
// (https://packaging.python.org/en/latest/specifications/simple-repository-api/).
func (b builderFixture) testPythonIndex(t *testing.T) {
	name, content := wheel(t, 1)
	asked := 0
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/simple/pack1/":
			_, _ = fmt.Fprintf(w, `<a href="/files/%s">%s</a>`, name, name)
		case "/files/" + name:
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	defer index.Close()
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "pyproject.toml"), []byte("[project]\nname = \"f\"\nversion = \"1\"\ndependencies = [\"pack1>=1\"]\n"))
	writeFile(t, filepath.Join(source, "func.py"), []byte("import pack1\n\ndef handle(request):\n    return str(pack1.number)\n"))
	b.online = true
	env := map[string]string{"PIP_INDEX_URL": index.URL + "/simple"}
	if _, body := start(t, b.mustBuild(t, "index", source, env)).post(t, ""); body != "1" || asked == 0 {
		t.Errorf("got %q, the index was asked %d times", body, asked)
	}
	before := asked
	if output, failed := b.build(t, "index", source, env); failed != "" || asked != before {
		t.Errorf("phase %q failed, or the index was asked again (%d):\n%s", failed, asked-before, output)
	}
}

func (b builderFixture) testPythonFolders(t *testing.T) {
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "shared", "words.py"), []byte("greeting = 'shared hello'\n"))
	writeFile(t, filepath.Join(source, "functions", "a", "function", "__init__.py"), []byte("from .func import new\n"))
	writeFile(t, filepath.Join(source, "functions", "a", "function", "func.py"), []byte(`
from shared.words import greeting

def new():
    return Function()

class Function:
    async def handle(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": greeting.encode()})
`))
	env := map[string]string{"KNIT_FUNCTION_PATH": "functions/a"}
	if _, body := start(t, b.mustBuild(t, "folders", source, env)).post(t, ""); body != "shared hello" {
		t.Errorf("got %q", body)
	}
}

func (b builderFixture) testPythonErrors(t *testing.T) {
	const fine = "async def handle(scope, receive, send):\n    pass\n"
	cases := map[string]struct {
		files map[string]string
		env   map[string]string
		phase string
		want  []string
	}{
		"a syntax error": {
			files: map[string]string{"func.py": fine + "\nx = = 1\n"},
			phase: "build", want: []string{"func.py:4:5: invalid syntax", "x = = 1"},
		},
		"a syntax error in what is imported": {
			files: map[string]string{"func.py": "from lib import deep\n" + fine, "lib/deep.py": "def f(:\n"},
			phase: "build", want: []string{"lib/deep.py:1:7: invalid syntax"},
		},
		"no handler": {
			files: map[string]string{"func.py": "x = 1\n"},
			phase: "build", want: []string{"func.py: no function new or handle", "def handle(event)"},
		},
		"a handler that cannot be served": {
			files: map[string]string{"func.py": "def handle(a, b): pass\n"},
			phase: "build", want: []string{"func.py:1: def handle(a, b)"},
		},
		"an index that cannot be reached": {
			files: map[string]string{"func.py": fine, "requirements.txt": "httpx==0.28.1\n"}, env: map[string]string{"PIP_RETRIES": "1"},
			phase: "build", want: []string{"the package index https://pypi.org/simple cannot be reached", "PIP_INDEX_URL", "pip download -r requirements.txt -d wheels"},
		},
		"requirements that are none": {
			files: map[string]string{"func.py": fine, "requirements.txt": "one\ntwo === three four\n"},
			phase: "build", want: []string{"Invalid requirement", "line 2 of requirements.txt"},
		},
		"a file of requirements that is not there": {
			files: map[string]string{"func.py": fine, "requirements.txt": "-r more.txt\n"},
			phase: "build", want: []string{"requirements.txt", "more.txt"},
		},
		"a project that is no TOML": {
			files: map[string]string{"func.py": fine, "pyproject.toml": "[project\n"},
			phase: "build", want: []string{"pyproject.toml: toml: line"},
		},
		"Poetry's own dependencies": {
			files: map[string]string{"func.py": fine, "pyproject.toml": "[tool.poetry.dependencies]\npython = \"*\"\nhttpx = \"*\"\n"},
			phase: "build", want: []string{"[tool.poetry.dependencies]", "[project] dependencies"},
		},
		"no Python where Python is said": {
			files: map[string]string{"index.js": ""}, env: map[string]string{"KNIT_LANGUAGE": "python"},
			phase: "build", want: []string{"no Python files", "spec.source.path"},
		},
	}
	name, content := wheel(t, 3)
	for test, c := range cases {
		t.Run(test, func(t *testing.T) { b.wantFailure(t, c.files, c.env, c.phase, c.want) })
	}
	t.Run("wheels that are not all", func(t *testing.T) {
		files := map[string]string{"func.py": fine, "requirements.txt": "pack3\npack4\n", path.Join("vendor", name): string(content)}
		b.wantFailure(t, files, nil, "build", []string{"No matching distribution found for pack4", "from the wheels in vendor"})
	})
	t.Run("a broken file that nobody imports", func(t *testing.T) {
		source := t.TempDir()
		writeFile(t, filepath.Join(source, "func.py"), []byte(fine))
		writeFile(t, filepath.Join(source, "old", "script.py"), []byte("print 'two'\n"))
		b.mustBuild(t, "unbroken", source, nil)
	})
}

func (b builderFixture) wantFailure(t *testing.T, files, env map[string]string, phase string, want []string) {
	t.Helper()
	source := t.TempDir()
	for file, content := range files {
		writeFile(t, filepath.Join(source, file), []byte(content))
	}
	output, failed := b.build(t, "broken", source, env)
	if failed != phase {
		t.Errorf("phase %q failed, want %q", failed, phase)
	}
	for _, text := range want {
		if !strings.Contains(output, text) {
			t.Errorf("the output does not say %q:\n%s", text, output)
		}
	}
}
