package images

import (
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// goWithSDK runs the Go tool in a folder as builds do: Knit's SDK comes from a
// proxy in a folder, everything else from what this machine has downloaded.
func goWithSDK(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	tools, err := findToolchain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	if err := writeSDK(proxy); err != nil {
		t.Fatal(err)
	}
	modules := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMODCACHE="+modules, "GOPROXY=file://"+proxy+",file://"+tools.download+",off",
		"GONOSUMDB=github.com/knit-dev/knit/sdk", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOWORK=off", "GOENV=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func writeAll(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (f memoryFile) openAny(string) (io.ReadCloser, error) { return f.Open() }

var update = flag.Bool("update", false, "write the SDK's sums")

const sumsFile = "../../runtime/lang/go/modules/sdk/go.sum.txt"

// withSums replaces the lines of a module.
func withSums(sums, module string, lines ...string) string {
	var kept []string
	for line := range strings.Lines(sums) {
		if !strings.HasPrefix(line, module+" ") {
			kept = append(kept, line)
		}
	}
	for _, line := range lines {
		kept = append(kept, module+" "+line+"\n")
	}
	slices.Sort(kept)
	return strings.Join(kept, "")
}

// TestTheSDKHasTheRecordedSum keeps a version of the SDK from changing once it is
// out: go.sum files of users hold its sum.
func TestTheSDKHasTheRecordedSum(t *testing.T) {
	sdk, err := golang.LoadSDK()
	if err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	if err := writeSDK(proxy); err != nil {
		t.Fatal(err)
	}
	archive, err := dirhash.HashZip(filepath.Join(proxy, filepath.FromSlash(sdk.Path), "@v", sdk.Version+".zip"), dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := dirhash.Hash1([]string{"go.mod"}, memoryFile{"go.mod", sdk.Files["go.mod"]}.openAny)
	if err != nil {
		t.Fatal(err)
	}
	files, err := golang.Scaffold(golang.Function{Kind: golang.HTTP, ImportsSDK: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	before := string(files["go.sum"])
	want := withSums(before, sdk.Path, sdk.Version+" "+archive, sdk.Version+"/go.mod "+mod)
	if *update {
		if err := os.WriteFile(sumsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if before != want {
		t.Errorf("%s is not up to date: raise sdk.Version if that of %s is released already, then run: go test ./builder/images -run RecordedSum -update", sumsFile, sdk.Version)
	}
	if !strings.Contains(string(files["go.mod"]), sdk.Path+" "+sdk.Version) {
		t.Errorf("runtime/lang/go/modules/sdk/go.mod.txt names another version than %s", sdk.Version)
	}
}

func TestTheSDKIsAModuleOfItsOwn(t *testing.T) {
	sdk, err := golang.LoadSDK()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeAll(t, dir, sdk.Files)
	for _, args := range [][]string{{"vet", "./..."}, {"test", "./..."}} {
		if out, err := goWithSDK(t, dir, args...); err != nil {
			t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

const sdkFunction = `package function

import (
	"net/http"

	"github.com/knit-dev/knit/sdk"
)

func Handle(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(sdk.Myself().Function + sdk.RequestID(r.Context())))
}
`

func TestFunctionsBuildWithTheSDK(t *testing.T) {
	sums, err := os.ReadFile(sumsFile)
	if err != nil {
		t.Fatal(err)
	}
	const own = "module example.com/f\n\ngo 1.24\n\nrequire github.com/knit-dev/knit/sdk v0.1.0\n\nrequire (\n" +
		"\tgithub.com/cloudevents/sdk-go/v2 v2.16.1 // indirect\n\tgithub.com/google/uuid v1.6.0 // indirect\n\tgithub.com/json-iterator/go v1.1.12 // indirect\n" +
		"\tgithub.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect\n\tgithub.com/modern-go/reflect2 v1.0.2 // indirect\n" +
		"\tgo.uber.org/multierr v1.11.0 // indirect\n\tgo.uber.org/zap v1.27.0 // indirect\n)\n"
	cases := map[string]struct{ module, gomod string }{
		"without a module": {"", ""},
		"with its own":     {"example.com/f", own},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeAll(t, dir, map[string][]byte{"f.go": []byte(sdkFunction)})
			if c.gomod != "" {
				writeAll(t, dir, map[string][]byte{"go.mod": []byte(c.gomod), "go.sum": sums})
			}
			function, err := golang.Detect(dir)
			if err != nil || !function.ImportsSDK {
				t.Fatalf("%+v %v", function, err)
			}
			files, err := golang.Scaffold(function, c.module)
			if err != nil {
				t.Fatal(err)
			}
			writeAll(t, dir, files)
			if out, err := goWithSDK(t, dir, "build", "-o", filepath.Join(t.TempDir(), "function"), "./"+golang.MainFolder); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
