package golang

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestScaffoldCompiles gives every accepted signature to the compiler, in a
// folder that brings no go.mod.
func TestScaffoldCompiles(t *testing.T) {
	const web, events = "\"net/http\"", "\"github.com/cloudevents/sdk-go/v2/event\""
	cases := map[string]struct{ imports, function string }{
		"HTTP":                  {web, "func Handle(w http.ResponseWriter, r *http.Request) {}"},
		"HTTP, context":         {"\"context\"\n" + web, "func Handle(ctx context.Context, w http.ResponseWriter, r *http.Request) {}"},
		"event":                 {events, "func Handle(e event.Event) {}"},
		"event, context":        {"\"context\"\n" + events, "func Handle(ctx context.Context, e event.Event) {}"},
		"event to error":        {events, "func Handle(e event.Event) error { return nil }"},
		"event to event":        {events, "func Handle(e event.Event) *event.Event { return nil }"},
		"event to event, error": {events, "func Handle(e event.Event) (*event.Event, error) { return nil, nil }"},
		"an instance":           {web, "type F struct{}\nfunc New() *F { return nil }\nfunc (*F) Handle(w http.ResponseWriter, r *http.Request) {}"},
		"an instance of events": {events, "type F struct{}\nfunc New() *F { return nil }\nfunc (*F) Handle(e event.Event) (*event.Event, error) { return nil, nil }"},
		"the SDK's result":      {"cloudevents \"github.com/cloudevents/sdk-go/v2\"", "func Handle(e cloudevents.Event) (*cloudevents.Event, cloudevents.Result) { return nil, nil }"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, "f.go", "package function\n\nimport (\n"+c.imports+"\n)\n\n"+c.function+"\n")
			function, err := Detect(dir)
			if err != nil {
				t.Fatal(err)
			}
			files, err := Scaffold(function, "")
			if err != nil {
				t.Fatal(err)
			}
			for file, content := range files {
				path := filepath.Join(dir, filepath.FromSlash(file))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "go", "vet", "./"+MainFolder)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
