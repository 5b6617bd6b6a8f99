package golang

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	httpImports  = "import (\n\"context\"\n\"net/http\"\n)\nvar _ context.Context\n"
	eventImports = "import (\n\"context\"\n\"github.com/cloudevents/sdk-go/v2/event\"\n)\nvar _ context.Context\n"
)

// folder writes files given as name, content, name, content …
func folder(t *testing.T, files ...string) string {
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

func TestDetectFindsTheSignature(t *testing.T) {
	cases := map[string]struct {
		source string
		want   Function
	}{
		"plain HTTP": {
			httpImports + "func Handle(w http.ResponseWriter, r *http.Request) {}",
			Function{Kind: HTTP},
		},
		"HTTP with a context": {
			httpImports + "func Handle(ctx context.Context, w http.ResponseWriter, r *http.Request) {}",
			Function{Kind: HTTP, TakesContext: true},
		},
		"HTTP, packages renamed, parameters unnamed": {
			"import web \"net/http\"\nfunc Handle(web.ResponseWriter, *web.Request) {}",
			Function{Kind: HTTP},
		},
		"event in, event and error out": {
			eventImports + "func Handle(ctx context.Context, e event.Event) (*event.Event, error) { return nil, nil }",
			Function{Kind: CloudEvent, TakesContext: true, ReturnsEvent: true, ReturnsError: true},
		},
		"event in, nothing out": {
			eventImports + "func Handle(e event.Event) {}",
			Function{Kind: CloudEvent},
		},
		"event in, error out": {
			eventImports + "func Handle(ctx context.Context, e event.Event) error { return nil }",
			Function{Kind: CloudEvent, TakesContext: true, ReturnsError: true},
		},
		"event in, event out": {
			eventImports + "func Handle(e event.Event) *event.Event { return nil }",
			Function{Kind: CloudEvent, ReturnsEvent: true},
		},
		"the SDK's root package": {
			"import cloudevents \"github.com/cloudevents/sdk-go/v2\"\nfunc Handle(e cloudevents.Event) (*cloudevents.Event, cloudevents.Result) { return nil, nil }",
			Function{Kind: CloudEvent, ReturnsEvent: true, ReturnsError: true},
		},
		"a method of what New returns": {
			httpImports + "type F struct{}\nfunc New() *F { return &F{} }\nfunc (f *F) Handle(w http.ResponseWriter, r *http.Request) {}",
			Function{Kind: HTTP, Instanced: true},
		},
		"a method for events of what New returns by value": {
			eventImports + "type F struct{}\nfunc (F) Handle(ctx context.Context, e event.Event) error { return nil }\nfunc New() F { return F{} }",
			Function{Kind: CloudEvent, Instanced: true, TakesContext: true, ReturnsError: true},
		},
		"a function Handle comes before New": {
			httpImports + "type F struct{}\nfunc New() *F { return nil }\nfunc Handle(w http.ResponseWriter, r *http.Request) {}",
			Function{Kind: HTTP},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Detect(folder(t, "f.go", "package function\n"+c.source))
			if err != nil {
				t.Fatal(err)
			}
			c.want.Package = "function"
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Function{}, "Pos")); diff != "" {
				t.Error(diff)
			}
			if got.Pos.Filename != "f.go" || got.Pos.Line < 2 {
				t.Errorf("position %s", got.Pos)
			}
		})
	}
}

func TestDetectSaysWhatIsWrongAndWhere(t *testing.T) {
	cases := map[string]struct {
		files []string
		want  []string
	}{
		"no Handle":           {[]string{"f.go", "package function\n"}, []string{"f.go:1:1", "no function Handle", "w http.ResponseWriter"}},
		"a method is none":    {[]string{"f.go", "package function\ntype T int\nfunc (T) Handle() {}"}, []string{"no function Handle"}},
		"New without Handle":  {[]string{"f.go", "package function\ntype T int\nfunc New() T { return 0 }"}, []string{"no function Handle", "func New() *T"}},
		"New of parameters":   {[]string{"f.go", "package function\n" + httpImports + "type T int\nfunc New(x int) T { return 0 }\nfunc (T) Handle(w http.ResponseWriter, r *http.Request) {}"}, []string{"no function Handle"}},
		"a bad method":        {[]string{"f.go", "package function\ntype T int\nfunc New() T { return 0 }\nfunc (T) Handle() {}"}, []string{"f.go:4:1", "use one of"}},
		"a test is none":      {[]string{"f.go", "package function", "f_test.go", "package function\nfunc Handle() {}"}, []string{"no function Handle"}},
		"no parameters":       {[]string{"f.go", "package function\n\nfunc Handle() {}"}, []string{"f.go:3:1", "func Handle()", "use one of"}},
		"a request by value":  {[]string{"f.go", "package function\n" + httpImports + "func Handle(w http.ResponseWriter, r http.Request) {}"}, []string{"f.go:7:1", "r http.Request"}},
		"results for HTTP":    {[]string{"f.go", "package function\n" + httpImports + "func Handle(w http.ResponseWriter, r *http.Request) error { return nil }"}, []string{"f.go:7:1"}},
		"another http":        {[]string{"f.go", "package function\nimport \"example.com/http\"\nfunc Handle(w http.ResponseWriter, r *http.Request) {}"}, []string{"f.go:3:1"}},
		"an event by value":   {[]string{"f.go", "package function\n" + eventImports + "func Handle(e event.Event) event.Event { return e }"}, []string{"f.go:7:1"}},
		"two contexts":        {[]string{"f.go", "package function\n" + eventImports + "func Handle(a, b context.Context, e event.Event) {}"}, []string{"f.go:7:1"}},
		"type parameters":     {[]string{"f.go", "package function\n" + httpImports + "func Handle[T any](w http.ResponseWriter, r *http.Request) {}"}, []string{"f.go:7:1"}},
		"package main":        {[]string{"f.go", "package main\n" + httpImports + "func Handle(w http.ResponseWriter, r *http.Request) {}"}, []string{"f.go:1:1", "package main"}},
		"two packages":        {[]string{"a.go", "package a", "b.go", "package b"}, []string{"b.go:1:1", "a.go is package a"}},
		"broken source":       {[]string{"f.go", "package function\nfunc {"}, []string{"f.go:2:6"}},
		"only for a platform": {[]string{"f.go", "//go:build windows\n\npackage function"}, []string{"no Go files"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Detect(folder(t, c.files...))
			if err == nil {
				t.Fatal("no error")
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
	dir := folder(t, "index.js", "", "sub/f.go", "package function")
	if _, err := Detect(dir); !errors.Is(err, ErrNoGo) {
		t.Errorf("got %v, want ErrNoGo", err)
	}
}
