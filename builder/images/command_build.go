package images

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/modfile"
)

// The flags of every build. -trimpath and -buildvcs=false keep folder names
// and the state of the work tree out of the programs; they are also what the
// Makefile uses, so that both fill one Go build cache.
const (
	goFlags = "-trimpath -buildvcs=false"
	ldFlags = "-s -w"
)

// compileReport is how often a long build says how far it is.
const compileReport = 5 * time.Second

// folder is a module folder in which go runs.
type folder struct {
	dir  string
	env  []string
	sums string   // everything that a foreign package's program depends on
	tree []string // module paths whose source is a folder of this machine
}

// openFolder reads go.mod and asks go for the settings that change a program.
func openFolder(ctx context.Context, dir string) (*folder, error) {
	f := &folder{dir: dir, env: append(os.Environ(),
		"GOFLAGS="+goFlags, "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOWORK=off")}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("build Go commands in %q: %w; name a folder with a go.mod", dir, err)
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("build Go commands in %q: %w", dir, err)
	}
	parsed, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return nil, fmt.Errorf("build Go commands in %q: %w", dir, err)
	}
	if parsed.Module == nil {
		return nil, fmt.Errorf("build Go commands in %q: go.mod has no module line", dir)
	}
	f.tree = []string{parsed.Module.Mod.Path}
	for _, r := range parsed.Replace {
		if r.New.Version == "" {
			f.tree = append(f.tree, r.Old.Path)
		}
	}
	env, err := f.goTool(ctx, "env", "GOVERSION", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT")
	if err != nil {
		return nil, err
	}
	f.sums = hashStrings("go command/1", env, goFlags, ldFlags, string(mod), string(sum))
	return f, nil
}

// own says whether the package's source lies on this machine, outside the
// module cache, where it can change without go.sum knowing.
func (f *folder) own(pkg string) bool {
	return slices.ContainsFunc(f.tree, func(mod string) bool {
		return pkg == mod || strings.HasPrefix(pkg, mod+"/")
	})
}

// key names a foreign package's program before it is built. It holds for
// packages whose whole closure is in the module cache; a foreign package that
// imports a module replaced by a folder is not of that kind.
func (f *folder) key(cmd Command) string {
	return "program of " + cmd.Package + " " + f.sums
}

// build links the round's programs into a folder of the cache and returns it.
// The folder stays, so that go leaves a program alone which is up to date.
func (f *folder) build(ctx context.Context, c *Cache, round int, cmds []Command, tell func(string)) (string, error) {
	out := c.path("bin", hashStrings(f.dir), fmt.Sprint(round))
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("build Go commands: %w", err)
	}
	if err := touch(filepath.Dir(out)); err != nil {
		return "", fmt.Errorf("build Go commands: %w", err)
	}
	args := []string{"build", "-v", "-ldflags", ldFlags, "-o", out + string(filepath.Separator)}
	var pkgs []string
	for _, cmd := range cmds {
		pkgs = append(pkgs, cmd.Package)
	}
	slices.Sort(pkgs)
	cmd := exec.CommandContext(ctx, "go", append(args, slices.Compact(pkgs)...)...)
	cmd.Dir, cmd.Env = f.dir, f.env
	// go forwards nothing to its compilers when it is killed, but they end by
	// themselves; an interrupt lets it clean its work folder first.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	started := time.Now()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", fmt.Errorf("build Go commands: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("build Go commands: %w; install Go and put it on PATH", err)
	}
	var compiled atomic.Int64
	stop := every(compileReport, func() {
		tell(fmt.Sprintf("compiling, %d packages and %d of %d programs so far", compiled.Load(), written(out, started), len(cmds)))
	})
	said := readCompile(stderr, &compiled)
	err = cmd.Wait()
	stop()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("go build in %s: %w: %s", f.dir, err, said)
	}
	return out, nil
}

// every calls f at the interval until stop is called, and not after that.
func every(interval time.Duration, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				f()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// written counts the programs that go has put into the folder since then.
func written(dir string, since time.Time) int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0 // only a number for a person
	}
	n := 0
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !info.ModTime().Before(since) {
			n++
		}
	}
	return n
}

// readCompile reads go's -v output to its end: package names as they are
// compiled, which it counts, and everything else, which it returns.
func readCompile(r io.Reader, compiled *atomic.Int64) string {
	var said bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line != "" && !strings.ContainsAny(line, " \t:#") {
			compiled.Add(1)
			continue
		}
		if said.Len() < 1<<16 {
			said.WriteString(line + "\n")
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line beyond the limit must not block go
	return strings.TrimSpace(said.String())
}

// dropForeign removes programs that are not built again before go.mod
// changes; Knative's alone would hold a gigabyte.
func (f *folder) dropForeign(out string, cmds []Command) error {
	for _, cmd := range cmds {
		if f.own(cmd.Package) {
			continue
		}
		if err := os.Remove(filepath.Join(out, cmd.binary())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up after go build: %w", err)
		}
	}
	return nil
}

func (f *folder) goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = f.dir, f.env, &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("go is not on PATH: install Go (see the version in go.mod) and try again")
	}
	if err != nil {
		return "", fmt.Errorf("go %s in %s: %w: %s", strings.Join(args, " "), f.dir, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
