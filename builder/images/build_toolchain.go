package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// toolchain is the Go installation of this machine.
type toolchain struct {
	root     string // GOROOT
	version  string // e.g. go1.26.8
	download string // GOMODCACHE/cache/download, which has the form of a module proxy
	proxy    string // GOPROXY
}

func findToolchain(ctx context.Context) (toolchain, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION", "GOMODCACHE", "GOPROXY")
	cmd.Dir = os.TempDir() // outside of any module, whose go.mod could ask for another version
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return toolchain{}, errors.New("go is not on PATH: install Go (see the version in go.mod) and try again")
	}
	if err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 4 || lines[0] == "" {
		return toolchain{}, fmt.Errorf("go env told no GOROOT: %q; reinstall Go", out)
	}
	return toolchain{root: lines[0], version: lines[1], download: filepath.Join(lines[2], "cache", "download"), proxy: lines[3]}, nil
}

func (t toolchain) key(what string) string {
	return what + " " + t.version + " linux/" + runtime.GOARCH
}

// layer copies the toolchain, without what no build of a function reads.
func (t toolchain) layer(ctx context.Context, c *Cache) (v1.Layer, error) {
	return c.layer(ctx, t.key("go toolchain/1"), gzipped, func(w *layerWriter) error {
		// GOROOT may be a link, as in Debian's packages.
		root, err := filepath.EvalSymlinks(t.root)
		if err != nil {
			return err
		}
		if err := addTree(w, root, goRootPath, buildsNeed); err != nil {
			return fmt.Errorf("copy %s: %w", t.root, err)
		}
		return nil
	})
}

// buildsNeed chooses the files and folders of GOROOT by slash-separated path.
func buildsNeed(name string, dir bool) bool {
	tools := "pkg/tool/linux_" + runtime.GOARCH
	switch {
	case dir:
		return name != "src/cmd" && path.Base(name) != "testdata" && (name == "pkg/tool" || !strings.HasPrefix(name, "pkg/tool/") || name == tools)
	case strings.HasPrefix(name, "src/"):
		return !strings.HasSuffix(name, "_test.go")
	case strings.HasPrefix(name, "pkg/tool/"):
		switch path.Base(name) {
		case "asm", "compile", "link":
			return true
		}
		return false
	case strings.HasPrefix(name, "pkg/"):
		return true
	}
	switch name {
	case "bin/go", "VERSION", "go.env", "LICENSE", "PATENTS":
		return true
	}
	return false
}

// addTree copies regular files below from into the layer, owned by root.
// Folders appear with the files in them.
func addTree(w *layerWriter, from, to string, want func(name string, dir bool) bool) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == from {
			return err
		}
		relative, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if entry.IsDir() {
			if !want(name, true) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !want(name, false) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		return w.diskFile(path.Join(to, name), mode, file)
	})
}
