package phase_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/knit-dev/knit/builder/phase"
)

// TestMain lets the test binary be the program, because export becomes
// another program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == phase.Export || os.Args[1] == phase.Analyze) {
		os.Exit(phase.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const (
	static = "registry.example/knit/run-static@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	node   = "registry.example/knit/run-node@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	mirror = "mirror.example/knit/run-node@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	own    = "registry.example/platform/run:v1"

	// what an analyzer writes, with values of every kind
	analyzed = `
[image]
  reference = "registry.example/alice/hello@sha256:3333333333333333333333333333333333333333333333333333333333333333"
[run-image]
  reference = "` + static + `"
  image = "` + static + `"
  [run-image.target]
    os = "linux"
    arch = "amd64"
[metadata]
  app = []
  [metadata.config]
    sha = "sha256:abc"
  [[metadata.buildpacks]]
    key = "knit/go"
    version = "0.1.0"
    [metadata.buildpacks.layers.function]
      sha = "sha256:def"
      launch = true
      [metadata.buildpacks.layers.function.data]
        list = [1, "two", 3.5]
`
	runTOML = "[[images]]\nimage = \"" + static + "\"\n[[images]]\nimage = \"" + node + "\"\nmirrors = [\"" + mirror + "\"]\n"
)

// pod is what the containers of a build share.
type pod struct{ analyzed, proposed, run string }

func newPod(t *testing.T) pod {
	t.Helper()
	dir := t.TempDir()
	p := pod{analyzed: filepath.Join(dir, "analyzed", "analyzed.toml"), proposed: filepath.Join(dir, "layers", "analyzed.toml"), run: filepath.Join(dir, "run.toml")}
	write(t, p.analyzed, analyzed)
	write(t, p.proposed, analyzed)
	write(t, p.run, runTOML)
	write(t, filepath.Join(dir, "layers", "group.toml"), "[[group]]\nid = \"knit/go\"\n")
	write(t, filepath.Join(dir, "layers", "config", "metadata.toml"), "")
	return p
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// export runs the check before a program that says that it ran.
func (p pod) export(t *testing.T, more ...string) (string, error) {
	t.Helper()
	args := append([]string{phase.Export, "-analyzed", p.analyzed, "-proposed", p.proposed, "-run", p.run}, more...)
	out, err := exec.CommandContext(t.Context(), os.Args[0], append(args, "--", "/bin/echo", "exported")...).CombinedOutput()
	return string(out), err
}

func runImageOf(t *testing.T, file string) string {
	t.Helper()
	var parsed struct {
		RunImage struct{ Image, Reference string } `toml:"run-image"`
	}
	if _, err := toml.DecodeFile(file, &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.RunImage.Image != parsed.RunImage.Reference {
		t.Errorf("image %q, reference %q", parsed.RunImage.Image, parsed.RunImage.Reference)
	}
	return parsed.RunImage.Image
}

func TestDetectMaySwitchToWhatTheBuilderOffers(t *testing.T) {
	cases := map[string]struct{ chosen, more, want string }{
		"nothing new":        {chosen: static, want: static},
		"another run image":  {chosen: node, want: node},
		"a mirror":           {chosen: mirror, want: mirror},
		"the platform's own": {chosen: own, more: own, want: own},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			write(t, p.proposed, "[run-image]\nimage = \""+c.chosen+"\"\nreference = \"ignored\"\n")
			out, err := p.export(t, "-run-image", c.more)
			if err != nil || !strings.Contains(out, "exported") {
				t.Fatalf("%v: %s", err, out)
			}
			if got := runImageOf(t, p.analyzed); got != c.want {
				t.Errorf("the run image is %s, want %s", got, c.want)
			}
		})
	}
}

// What the analyzer decided besides the run image survives, whatever detect
// wrote; what it knew of the former run image's target does not.
func TestOnlyTheRunImageIsTakenOver(t *testing.T) {
	p := newPod(t)
	write(t, p.proposed, strings.NewReplacer(static, node, "alice/hello", "bob/secret", "sha256:def", "sha256:bad").Replace(analyzed))
	if out, err := p.export(t); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var before, after map[string]any
	if err := toml.Unmarshal([]byte(analyzed), &before); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.DecodeFile(p.analyzed, &after); err != nil {
		t.Fatal(err)
	}
	before["run-image"] = map[string]any{"image": node, "reference": node}
	if got, want := encode(t, after), encode(t, before); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func encode(t *testing.T, value map[string]any) string {
	t.Helper()
	var out bytes.Buffer
	if err := toml.NewEncoder(&out).Encode(value); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHostileProposals(t *testing.T) {
	const evil = "registry.example/bob/secret@sha256:4444444444444444444444444444444444444444444444444444444444444444"
	choose := func(image string) func(*testing.T, pod) {
		return func(t *testing.T, p pod) { write(t, p.proposed, "[run-image]\nimage = \""+image+"\"\n") }
	}
	cases := map[string]struct {
		do   func(*testing.T, pod)
		want string
	}{
		"another tenant's image":        {choose(evil), "does not offer"},
		"another digest of a run image": {choose(strings.ReplaceAll(node, "2", "4")), "does not offer"},
		"a run image by tag":            {choose("registry.example/knit/run-node:latest"), "does not offer"},
		"the platform's with another":   {choose("registry.example/platform/run:v2"), "does not offer"},
		"no reference at all":           {choose("../../etc"), "does not offer"},
		"an image to extend":            {func(t *testing.T, p pod) { write(t, p.proposed, "[run-image]\nimage = \""+node+"\"\nextend = true\n") }, "FROM alone"},
		"commands for the build image": {func(t *testing.T, p pod) {
			write(t, filepath.Join(filepath.Dir(p.proposed), "generated", "x", "build.Dockerfile"), "")
		}, "FROM alone"},
		"no TOML":                        {func(t *testing.T, p pod) { write(t, p.proposed, "\x00[[") }, "what detect decided"},
		"other types":                    {func(t *testing.T, p pod) { write(t, p.proposed, "run-image = 7\n") }, "what detect decided"},
		"more than fits":                 {func(t *testing.T, p pod) { write(t, p.proposed, strings.Repeat("#", 5<<20)) }, "more than"},
		"nothing":                        {func(t *testing.T, p pod) { remove(t, p.proposed) }, "what detect decided"},
		"a link to what analyze decided": {func(t *testing.T, p pod) { remove(t, p.proposed); check(t, os.Symlink(p.analyzed, p.proposed)) }, "symbolic link"},
		"a folder":                       {func(t *testing.T, p pod) { remove(t, p.proposed); check(t, os.Mkdir(p.proposed, 0o755)) }, "no regular file"},
		"a pipe that nobody writes to":   {func(t *testing.T, p pod) { remove(t, p.proposed); check(t, syscall.Mkfifo(p.proposed, 0o644)) }, "neither a file nor a folder"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			c.do(t, p)
			out, err := p.export(t, "-run-image", own)
			if err == nil || strings.Contains(out, "exported") || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s; want %q", err, out, c.want)
			}
			if content, err := os.ReadFile(p.analyzed); err != nil || string(content) != analyzed {
				t.Errorf("the decisions changed (%v):\n%s", err, content)
			}
		})
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	check(t, os.Remove(file))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnalyzeRestoresAndHandsOnACopy(t *testing.T) {
	cases := map[string]struct {
		first, second []string
		before        string // what the analyzer decided
		code          int
		copied        bool
		said          string
	}{
		"the analyzer fails":   {first: sh("echo no registry; exit 37"), second: sh("echo restored"), before: analyzed, code: 37, said: "no registry"},
		"there is no analyzer": {first: []string{"/no/such"}, second: sh("echo restored"), before: analyzed, code: phase.ExitUsage, said: "/no/such"},
		"it works":             {first: sh("true"), second: sh("echo restored"), before: analyzed, copied: true, said: "restored"},
		"the restorer fails":   {first: sh("true"), second: sh("exit 41"), before: analyzed, code: phase.ExitRestore, copied: true},
		"nothing to restore":   {first: sh("true"), second: sh("echo restored"), before: "[run-image]\nimage = \"x\"\n", copied: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			write(t, p.analyzed, c.before)
			remove(t, p.proposed)
			restored := filepath.Join(filepath.Dir(p.analyzed), "restored.toml")
			code, out := p.runTwo(t, phase.Analyze, c.first, c.second, "-restored", restored)
			if code != c.code || strings.TrimSpace(out) != c.said && !strings.Contains(out, c.said) || c.said == "" && out != "" {
				t.Errorf("exit %d, want %d: %q", code, c.code, out)
			}
			content, err := os.ReadFile(p.proposed)
			if (err == nil) != c.copied || c.copied && string(content) != c.before {
				t.Errorf("copied: %v %q", err, content)
			}
			if group, err := os.ReadFile(restored); c.code == 0 && (c.said != "") != (err == nil) || err == nil && !strings.Contains(string(group), `id = "knit/go"`) {
				t.Errorf("restored %q (%v)", group, err)
			}
		})
	}
}

func TestBuildDetectsFirst(t *testing.T) {
	cases := map[string]struct {
		first, second []string
		code          int
		want          string // in what detect has decided
	}{
		"detect fails":           {first: sh("exit 20"), second: sh("echo built"), code: phase.ExitDetect, want: "amd64"},
		"build fails":            {first: sh("true"), second: sh("exit 51"), code: 51, want: "amd64"},
		"nothing switched":       {first: sh("true"), second: sh("true"), want: "amd64"},
		"another run image":      {first: switchTo(node), second: sh("true"), want: "amd64"},
		"detect leaves no table": {first: sh("echo run-image = 1 >$PROPOSED"), second: sh("true"), want: "run-image = 1"},
		"detect leaves no TOML":  {first: sh("echo [[ >$PROPOSED"), second: sh("echo built"), code: phase.ExitDetect, want: "[["},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			t.Setenv("PROPOSED", p.proposed)
			code, out := p.runTwo(t, phase.Build, c.first, c.second)
			if code != c.code || code == phase.ExitDetect && strings.Contains(out, "built") {
				t.Errorf("exit %d, want %d: %s", code, c.code, out)
			}
			if content, err := os.ReadFile(p.proposed); err != nil || !strings.Contains(string(content), c.want) {
				t.Errorf("%v: %s", err, content)
			}
		})
	}
}

func TestTimesComeBack(t *testing.T) {
	p := newPod(t)
	begin := time.Now()
	message := filepath.Join(t.TempDir(), "message")
	if code, out := p.runTwo(t, phase.Build, sh("true"), sh("true"), "-message", message); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	end := time.Now()
	content, err := os.ReadFile(message)
	check(t, err)
	times := phase.ParseTimes(string(content), begin, end)
	if len(times) != 2 || times[0].Phase != "detect" || times[1].Phase != "build" || times[1].Start.Before(times[0].End) {
		t.Errorf("times %v of %s", times, content)
	}
	for name, other := range map[string]phase.Times{
		"an earlier container's": phase.ParseTimes(string(content), begin.Add(time.Minute), end.Add(time.Minute)),
		"a later one's":          phase.ParseTimes(string(content), begin.Add(-time.Hour), end.Add(-time.Minute)),
		"no times":               phase.ParseTimes("the buildpack's last words", begin, end),
		"out of order":           phase.ParseTimes(phase.Times{{Phase: "a", Start: end, End: begin}}.String(), begin, end),
	} {
		if other != nil {
			t.Errorf("%s were believed: %v", name, other)
		}
	}
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func switchTo(image string) []string {
	return sh("printf '[run-image]\nimage = \"" + image + "\"\nreference = \"" + image + "\"\n' >$PROPOSED")
}

// runTwo does the two commands of a container.
func (p pod) runTwo(t *testing.T, name string, first, second []string, more ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	args := slices.Concat([]string{name, "-analyzed", p.analyzed, "-proposed", p.proposed}, more, []string{"--"}, first, []string{phase.Then}, second)
	return phase.Run(t.Context(), args, &out, &out), out.String()
}

func TestAnalyzeLeavesTheProgram(t *testing.T) {
	p := newPod(t)
	remove(t, p.proposed)
	to := filepath.Join(t.TempDir(), "phase")
	if code, out := p.runTwo(t, phase.Analyze, sh("true"), sh("true"), "-restored", filepath.Join(t.TempDir(), "r"), "-install", to); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	out, err := exec.CommandContext(t.Context(), to, phase.Export).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "usage: analyze") {
		t.Errorf("the copy says %v: %s", err, out)
	}
	if code, _ := p.runTwo(t, phase.Analyze, sh("true"), sh("true"), "-restored", "r", "-install", to); code != phase.ExitUsage {
		t.Errorf("it wrote over what was there (exit %d)", code)
	}
}

func TestFoldersAreTheOwnersOnly(t *testing.T) {
	volume := t.TempDir()
	check(t, os.Chmod(volume, 0o777|os.ModeSetgid))
	folder := filepath.Join(volume, "folder")
	for range 2 {
		check(t, phase.MakeFolder(folder))
	}
	if info, err := os.Stat(folder); err != nil || info.Mode() != os.ModeDir|0o755 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
