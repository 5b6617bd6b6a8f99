package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/knit-dev/knit"

// room is one line of the import table in ARCHITECTURE.md. The room with the
// longest folder that holds a package decides about it.
type room struct {
	folder  string
	may     []string // folders of this module; "." is the module's root
	never   []string // folders excepted from may; "*" stands for one folder
	outside []string // modules or packages besides std; nil means any
}

var table = []room{
	{folder: ".", may: []string{"runtime/cli", "functions/cli", "builder/cli", "eventing/cli", "scheduler/cli", "deploy/cli"}},
	{folder: "sdk", may: []string{"sdk"}, outside: []string{"github.com/cloudevents/sdk-go"}},
	{folder: "samples", may: []string{"sdk"}, outside: []string{"github.com/cloudevents/sdk-go"}},
	{folder: "runtime", may: []string{"runtime", "sdk"}, outside: []string{"github.com/cloudevents/sdk-go"}},
	{folder: "runtime/conformance", may: []string{"runtime/lang", "builder/images"}},
	{folder: "runtime/cli", may: []string{"runtime/lang", "functions/cli/cmdline"}, never: controllers},

	{folder: "functions", may: []string{"functions"}},
	{folder: "functions/api", may: []string{"functions/api"}, outside: apiTypes},
	{folder: "functions/api/archive", may: []string{"functions/api"}},
	{folder: "functions/cli", may: []string{"functions"}, never: controllers},

	{folder: "builder", may: []string{"builder", "functions/api", "functions/reconcile", "runtime/lang"}},
	{folder: "eventing", may: []string{"eventing", "functions/api", "functions/reconcile"}},
	{folder: "scheduler", may: []string{"scheduler", "functions/api", "functions/reconcile"}},
	{folder: "builder/cli", may: []string{"builder", "functions/api", "functions/cli/cmdline", "functions/cli/project", "runtime/lang"}, never: controllers},
	{folder: "eventing/cli", may: []string{"eventing", "functions/api", "functions/cli/cmdline"}, never: controllers},
	{folder: "scheduler/cli", may: []string{"scheduler", "functions/api", "functions/cli/cmdline"}, never: controllers},

	{folder: "deploy", may: []string{"sdk", "runtime", "functions", "builder", "eventing", "scheduler", "deploy"}},
	{folder: "deploy/cli", may: []string{"builder", "functions", "deploy"}, never: controllers},
}

// controllers are the packages that a command never links.
var controllers = []string{"*/controller", "functions/reconcile", "functions/service", "deploy/controlplane"}

// apiTypes is what the kinds may be made of.
var apiTypes = []string{
	"k8s.io/api", "k8s.io/apimachinery", "knative.dev/pkg", "knative.dev/serving/pkg/apis", "knative.dev/eventing/pkg/apis",
	"sigs.k8s.io/controller-runtime/pkg/scheme",
}

type listed struct {
	ImportPath, Dir, Doc               string
	Imports, TestImports, XTestImports []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list ./...: %v\n%s", err, stderr.String())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		all = append(all, p)
	}
	return all
}

// folder returns where in the module an import path lies.
func folder(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// within tells whether a folder is, or lies below, the named one.
func within(folder, name string) bool {
	return folder == name || strings.HasPrefix(folder, name+"/")
}

// excepted is within for names with a "*" in place of a folder.
func excepted(folder, pattern string) bool {
	depth := strings.Count(pattern, "/") + 1
	parts := strings.Split(folder, "/")
	if len(parts) < depth {
		return false
	}
	matched, _ := path.Match(pattern, strings.Join(parts[:depth], "/"))
	return matched
}

// roomOf returns the line of the table that decides about a folder.
func roomOf(folder string) (room, bool) {
	var best room
	found := false
	for _, r := range table {
		if r.folder == "." && folder != "." {
			continue
		}
		if within(folder, r.folder) && (!found || len(r.folder) > len(best.folder)) {
			best, found = r, true
		}
	}
	return best, found
}

// allows decides about one import of a package in the room; here is the
// package's own folder.
func (r room) allows(here, importPath string) bool {
	target, ours := folder(importPath)
	if !ours {
		first, _, _ := strings.Cut(importPath, "/")
		if r.outside == nil || !strings.Contains(first, ".") {
			return true
		}
		return slices.ContainsFunc(r.outside, func(m string) bool { return within(importPath, m) || strings.HasPrefix(importPath, m+"/") })
	}
	if target == here {
		return true
	}
	if slices.ContainsFunc(r.never, func(p string) bool { return excepted(target, p) }) {
		return false
	}
	return slices.ContainsFunc(r.may, func(name string) bool { return within(target, name) })
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		here, ours := folder(p.ImportPath)
		r, found := roomOf(here)
		if !ours || !found {
			t.Errorf("%s lies in no room of the import table: move it into one, or add a line to the table here and in ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !r.allows(here, imported) {
				t.Errorf("%s imports %s, which the import table forbids for %q: meet through API objects or HTTP, or let deploy pass it in", p.ImportPath, imported, r.folder)
			}
		}
	}
}

func TestImportTableDecides(t *testing.T) {
	cases := map[string]struct {
		from, to string
		want     bool
	}{
		"a controller may use the kit":             {"functions/controller", module + "/functions/reconcile", true},
		"functions never reach into eventing":      {"functions/controller", module + "/eventing", false},
		"the builder may use the languages":        {"builder/buildpacks/go", module + "/runtime/lang/go", true},
		"eventing never reaches into the builder":  {"eventing", module + "/builder/images", false},
		"a command never links its controller":     {"scheduler/cli", module + "/scheduler/controller", false},
		"a command may use the shared plumbing":    {"scheduler/cli", module + "/functions/cli/cmdline", true},
		"a command never uses another's commands":  {"scheduler/cli", module + "/functions/cli", false},
		"the runtime knows no Kubernetes":          {"runtime/lang/go", "k8s.io/api/core/v1", false},
		"the sdk may use cloudevents":              {"sdk", "github.com/cloudevents/sdk-go/v2/event", true},
		"std is always allowed":                    {"sdk", "net/http", true},
		"the control plane assembles everything":   {"deploy/controlplane", module + "/scheduler/controller", true},
		"nothing imports the program":              {"deploy/cli", module, false},
		"install builds images":                    {"deploy/cli", module + "/builder/images", true},
		"install never links a controller":         {"deploy/cli", module + "/builder/controller", false},
		"main assembles commands and nothing else": {".", module + "/builder/images", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, found := roomOf(c.from)
			if !found {
				t.Fatalf("no room for %s", c.from)
			}
			if got := r.allows(c.from, c.to); got != c.want {
				t.Errorf("%s importing %s: allowed = %v, want %v", c.from, c.to, got, c.want)
			}
		})
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment: say what it is, who calls it and what it never does", p.ImportPath)
		}
	}
}

func TestGoModReplacesNothing(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var mod struct{ Replace []any }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace) > 0 {
		t.Errorf("go.mod has %d replace lines: `go install %s@latest` would refuse it; put what needs them in a module of its own, as deploy/cluster does", len(mod.Replace), module)
	}
}

func TestEveryRoomHasAReadme(t *testing.T) {
	rooms := map[string]bool{}
	for _, p := range packages(t) {
		here, _ := folder(p.ImportPath)
		top, _, _ := strings.Cut(here, "/")
		if top != "." {
			rooms[top] = true
		}
	}
	for top := range rooms {
		if _, err := os.Stat(filepath.Join(top, "README.md")); err != nil {
			t.Errorf("room %s has no README.md: a screen on what it is, its folders and how to try it", top)
		}
	}
}
