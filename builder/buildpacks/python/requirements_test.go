package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// project writes files given as name, content, name, content …
func project(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindRequirements(t *testing.T) {
	cases := map[string]struct {
		files []string
		want  *requirements // folder and wheels relative
	}{
		"none":                      {nil, nil},
		"comments alone":            {[]string{"requirements.txt", "# nothing\n\n"}, nil},
		"a file":                    {[]string{"requirements.txt", "a\n"}, &requirements{file: "requirements.txt"}},
		"a file before the project": {[]string{"requirements.txt", "a\n", "pyproject.toml", "broken"}, &requirements{file: "requirements.txt"}},
		"a project":                 {[]string{"pyproject.toml", "[project]\ndependencies = [\"a>1\", \"b\"]\n"}, &requirements{file: "pyproject.toml", lines: []string{"a>1", "b"}}},
		"a project without":         {[]string{"pyproject.toml", "[tool.x]\n[tool.poetry.dependencies]\npython = \"^3\"\n"}, nil},
		"vendored wheels":           {[]string{"requirements.txt", "a\n", "vendor/a-1-py3-none-any.whl", ""}, &requirements{file: "requirements.txt", wheels: "vendor"}},
		"a vendor folder without":   {[]string{"requirements.txt", "a\n", "vendor/a.py", ""}, &requirements{file: "requirements.txt"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := project(t, c.files...)
			got, err := findRequirements(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c.want != nil {
				c.want.folder = dir
				if c.want.wheels != "" {
					c.want.wheels = filepath.Join(dir, c.want.wheels)
				}
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(requirements{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHash: what changes the installed packages changes the hash, and nothing else does.
func TestHash(t *testing.T) {
	base := []string{"requirements.txt", "a==1\n-r more.txt\n", "more.txt", "b==1\n", "wheels/a-1-py3-none-any.whl", "a"}
	hashOf := func(files ...string) (string, bool) {
		found, err := findRequirements(project(t, files...))
		if err != nil {
			t.Fatal(err)
		}
		sum, known, err := found.hash()
		if err != nil {
			t.Fatal(err)
		}
		return sum, known
	}
	want, known := hashOf(base...)
	if !known {
		t.Error("plain requirements are not known by their files")
	}
	if got, _ := hashOf(append(base, "func.py", "new")...); got != want {
		t.Error("another file changes the hash")
	}
	for name, files := range map[string][]string{
		"a line":           append(base, "requirements.txt", "a==2\n-r more.txt\n"),
		"an included file": append(base, "more.txt", "b==2\n"),
		"a wheel":          append(base, "wheels/a-1-py3-none-any.whl", "A"),
		"one wheel more":   append(base, "wheels/b-1-py3-none-any.whl", ""),
	} {
		if got, _ := hashOf(files...); got == want {
			t.Errorf("%s changes nothing", name)
		}
	}
	for _, line := range []string{"-e .", "./lib", "../lib", "--editable lib", "lib @ file:///x", "-r ../outside.txt", "."} {
		if _, known := hashOf("requirements.txt", "a\n"+line+"\n"); known {
			t.Errorf("%q is thought to be known by its line", line)
		}
	}
	if _, known := hashOf("requirements.txt", "a-b.c[d]>=1; python_version > '3'  # ./lib\n"); !known {
		t.Error("a plain requirement is thought to be a folder")
	}
	t.Setenv("PIP_INDEX_URL", "https://example.com")
	if got, _ := hashOf(base...); got == want {
		t.Error("another index changes nothing")
	}
}

func TestIncludesInACircle(t *testing.T) {
	found, err := findRequirements(project(t, "requirements.txt", "-r requirements.txt\n--constraint=c.txt\n", "c.txt", "-rrequirements.txt\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, known, err := found.hash(); err != nil || !known {
		t.Errorf("known %t, %v", known, err)
	}
}

func TestRequirementsBeyondReason(t *testing.T) {
	for _, file := range []string{"requirements.txt", "pyproject.toml"} {
		if _, err := findRequirements(project(t, file, strings.Repeat("#", maxFile+1))); err == nil || !strings.Contains(err.Error(), file+" has 1048577 bytes") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestReadInstalled(t *testing.T) {
	dir := project(t,
		"zope.interface-5.dist-info/METADATA", "Metadata-Version: 2.1\nName: zope.interface\nVersion: 5.0\n\nName: not this\n",
		"Flask_X-1.dist-info/METADATA", "Name: Flask_X\nVersion: 1\n")
	got, err := readInstalled(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []component{{"library", "Flask_X", "1", "pkg:pypi/flask-x@1"}, {"library", "zope.interface", "5.0", "pkg:pypi/zope-interface@5.0"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesHoldNoLogin(t *testing.T) {
	t.Setenv("PIP_INDEX_URL", "https://user:secret@pypi.example.com/simple")
	err := explain(&requirements{file: "requirements.txt"}, os.ErrInvalid, "NewConnectionError")
	if strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "https://pypi.example.com/simple") {
		t.Error(err)
	}
}

func TestDropUnneeded(t *testing.T) {
	dir := project(t, "func.py", "", "__pycache__/func.pyc", "", "lib/__pycache__/x.pyc", "", ".venv/pyvenv.cfg", "", ".venv/lib/x.py", "", "env/data.txt", "", "wheels/a.whl", "")
	if err := dropUnneeded(dir, &requirements{wheels: filepath.Join(dir, "wheels")}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"func.py": true, "env/data.txt": true, "__pycache__": false, "lib/__pycache__": false, ".venv": false, "wheels/a.whl": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", name, err == nil, want)
		}
	}
}

func TestFunctionFolder(t *testing.T) {
	for path, want := range map[string]string{"": "/workspace", ".": "/workspace", "functions/a": "/workspace/functions/a", "../etc": "", "/etc": ""} {
		got, err := functionFolder("/workspace", map[string]string{pathVariable: path})
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q (%v), want %q", path, got, err, want)
		}
	}
}
