package node

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder writes files given as name, content, name, content …
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDetectFindsTheFile(t *testing.T) {
	cases := map[string]struct {
		files []string
		entry string
		kind  Kind
		build bool
	}{
		"main":                          {[]string{"package.json", `{"main": "lib/handler.js"}`, "lib/handler.js", "", "index.js", ""}, "lib/handler.js", Any, false},
		"main with dot":                 {[]string{"package.json", `{"main": "./index.js"}`, "index.js", ""}, "index.js", Any, false},
		"main without an ending":        {[]string{"package.json", `{"main": "index"}`, "index.mjs", ""}, "index.mjs", Any, false},
		"main is a folder":              {[]string{"package.json", `{"main": "lib/"}`, "lib/index.ts", ""}, "lib/index.ts", Any, false},
		"main that the build writes":    {[]string{"package.json", `{"main": "build/index.js", "scripts": {"build": "tsc"}}`, "src/index.ts", ""}, "build/index.js", Any, true},
		"func's TypeScript project":     {[]string{"package.json", `{"scripts": {"build": "tsc", "start": "FUNC_LOG_LEVEL=info faas-js-runtime ./build/index.js"}}`}, "build/index.js", Any, true},
		"func's start with options":     {[]string{"package.json", `{"scripts": {"start": "faas-js-runtime --include-raw app.js"}}`, "app.js", ""}, "app.js", Any, false},
		"another start":                 {[]string{"package.json", `{"scripts": {"start": "node server.js"}}`, "index.js", "", "server.js", ""}, "index.js", Any, false},
		"no package.json":               {[]string{"index.js", ""}, "index.js", Any, false},
		"index before function":         {[]string{"function.js", "", "index.ts", ""}, "index.ts", Any, false},
		"function alone":                {[]string{"function.cjs", ""}, "function.cjs", Any, false},
		"events only":                   {[]string{"package.json", `{"knit": {"kind": "cloudevent"}}`, "index.js", ""}, "index.js", CloudEvent, false},
		"HTTP only, with byte order":    {[]string{"package.json", "\ufeff" + `{"knit": {"kind": "http"}}`, "index.js", ""}, "index.js", HTTP, false},
		"fields of no interest to Knit": {[]string{"package.json", `{"private": true, "workspaces": ["a"], "author": {"name": "x"}}`, "index.js", ""}, "index.js", Any, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Detect(folder(t, c.files...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{c.entry, c.kind, c.build}, []any{got.Entry, got.Kind, got.Builds()}); diff != "" {
				t.Error(diff)
			}
			if got.EntryFrom == "" {
				t.Error("it does not say why")
			}
		})
	}
}

func TestDetectSaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		files []string
		want  []string
	}{
		"malformed":            {[]string{"package.json", "{\n  \"main\": \"index.js\",\n}", "index.js", ""}, []string{"package.json:3:1", "invalid character '}'"}},
		"cut short":            {[]string{"package.json", `{"main"`}, []string{"package.json:1:7"}},
		"empty":                {[]string{"package.json", ""}, []string{"package.json:1:1"}},
		"a list":               {[]string{"package.json", "[]"}, []string{"package.json:1:1", "want one JSON object"}},
		"main is a number":     {[]string{"package.json", "{\n\"main\": 5}"}, []string{"package.json:2:", "main is a number, want a string"}},
		"scripts is a list":    {[]string{"package.json", `{"scripts": []}`}, []string{"scripts is a array"}},
		"an unknown kind":      {[]string{"package.json", `{"knit": {"kind": "grpc"}}`, "index.js", ""}, []string{`knit.kind is "grpc"`, "cloudevent"}},
		"main that is gone":    {[]string{"package.json", `{"main": "lib/x.js"}`, "index.js", ""}, []string{`"main" in package.json is "lib/x.js"`, "no such file"}},
		"main outside":         {[]string{"package.json", `{"main": "../x.js"}`}, []string{"outside of the function's folder"}},
		"main with root":       {[]string{"package.json", `{"main": "/etc/passwd", "scripts": {"build": "x"}}`}, []string{"outside of the function's folder"}},
		"no file at all":       {[]string{"package.json", "{}", "server.js", ""}, []string{"names no \"main\"", "index.js", "function.cts"}},
		"a folder as the file": {[]string{"package.json", "{}", "index.js/x", ""}, []string{"names no \"main\""}},
		"a huge package.json":  {[]string{"package.json", strings.Repeat(" ", 1<<20+1)}, []string{"more than 1048576 bytes"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Detect(folder(t, c.files...))
			if err == nil || errors.Is(err, ErrNoNode) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestDetectTellsOtherLanguagesApart(t *testing.T) {
	dir := folder(t, "main.go", "", "app.py", "", "sub/index.js", "")
	if _, err := Detect(dir); !errors.Is(err, ErrNoNode) {
		t.Errorf("got %v, want ErrNoNode", err)
	}
}

func TestArguments(t *testing.T) {
	for kind, want := range map[Kind][]string{Any: {"/r/main.js", "a.js"}, CloudEvent: {"/r/main.js", "a.js", "cloudevent"}} {
		got := Arguments("/r", Function{Entry: "a.js", Kind: kind})
		if diff := cmp.Diff(want, got[1:]); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
}

func TestRuntimeIsWhole(t *testing.T) {
	files, err := Runtime()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.js", "serve.js", "job.js", "package.json"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range files {
		if strings.HasSuffix(name, ".go") {
			t.Errorf("%s does not belong into images", name)
		}
	}
}

// TestTemplatesAreFunctions that Detect finds, of the kind that they show.
func TestTemplatesAreFunctions(t *testing.T) {
	want := map[string]Function{
		"http": {Entry: "index.js", Kind: Any}, "http-ts": {Entry: "index.ts", Kind: Any},
		"event": {Entry: "index.js", Kind: CloudEvent}, "event-ts": {Entry: "index.ts", Kind: CloudEvent},
	}
	entries, err := fs.ReadDir(Templates(), ".")
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%d templates (%v), want %d", len(entries), err, len(want))
	}
	for name, function := range want {
		dir := t.TempDir()
		template, err := fs.Sub(Templates(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, template); err != nil {
			t.Fatal(err)
		}
		got, err := Detect(dir)
		if err != nil || got.Entry != function.Entry || got.Kind != function.Kind {
			t.Errorf("%s: %+v (%v)", name, got, err)
		}
		for _, file := range []string{"knit.yaml", "package-lock.json", ".gitignore"} {
			if _, err := fs.Stat(template, file); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	types, err := fs.Glob(Templates(), "*/knit.d.ts")
	if err != nil || len(types) != 2 {
		t.Fatalf("types %v (%v)", types, err)
	}
	a, _ := fs.ReadFile(Templates(), types[0])
	b, _ := fs.ReadFile(Templates(), types[1])
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Errorf("%s and %s differ: %s", path.Dir(types[0]), path.Dir(types[1]), diff)
	}
}
