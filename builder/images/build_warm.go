package images

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// warmFunction imports what functions without a go.mod may import, so that
// its build downloads and compiles all of it.
const warmFunction = `package function

import (
	"context"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/knit-dev/knit/sdk"
)

func Handle(ctx context.Context, _ event.Event) (*event.Event, error) {
	reply := cloudevents.NewEvent()
	return &reply, sdk.Emit(ctx, reply)
}
`

// warmLayer holds the build cache and the modules of one such build. The build
// cache's keys depend on the Go version and the flags, not on where it was made.
// It is the one layer that is not the same when it is made again from nothing:
// Go writes times and folder names into some entries.
func (t toolchain) warmLayer(ctx context.Context, c *Cache, progress func(string)) (v1.Layer, error) {
	function := golang.Function{Package: "function", Kind: golang.CloudEvent, TakesContext: true, ReturnsEvent: true, ReturnsError: true, ImportsSDK: true}
	files, err := golang.Scaffold(function, "")
	if err != nil {
		return nil, err
	}
	files["function.go"] = []byte(warmFunction)
	// The runtime's own sources are compiled into every function anyway; only
	// the modules decide whether the layer is still right.
	key := t.key("go warm/1") + " " + hashStrings(string(files["go.mod"]), string(files["go.sum"]), warmFunction)
	return c.layer(ctx, key, gzipped, func(w *layerWriter) error {
		dir, err := c.tempDir("warm-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		progress("compiling the standard library for builds of functions")
		if err := t.warm(ctx, dir, files); err != nil {
			return err
		}
		if err := addTree(w, filepath.Join(dir, "cache"), goCachePath, cacheEntry); err != nil {
			return err
		}
		return addTree(w, filepath.Join(dir, "modules", "cache", "download"), goModulesPath, proxyFile)
	})
}

// warm fills dir/cache and dir/modules.
func (t toolchain) warm(ctx context.Context, dir string, files map[string][]byte) error {
	source := filepath.Join(dir, "source")
	for name, content := range files {
		file := filepath.Join(source, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	own := filepath.Join(dir, "sdk")
	if err := writeSDK(own); err != nil {
		return err
	}
	env := append(os.Environ(),
		"GOCACHE="+filepath.Join(dir, "cache"), "GOMODCACHE="+filepath.Join(dir, "modules"),
		// What this machine has downloaded already needs no network, and Knit's
		// SDK is nowhere else.
		"GOPROXY=file://"+own+",file://"+t.download+","+t.proxy,
		"GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=-modcacherw", "GOWORK=off", "GOENV=off")
	for _, args := range [][]string{
		{"mod", "download"},
		{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "std", "./" + golang.MainFolder},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stderr = source, env, &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
		}
	}
	return nil
}

// cacheEntry takes the entries of a Go build cache, not its notes.
func cacheEntry(name string, dir bool) bool {
	return dir && len(name) == 2 || !dir && strings.Contains(name, "/")
}

// proxyFile takes what the protocol of a module proxy serves
// (https://go.dev/ref/mod#goproxy-protocol), without lists: they would claim
// that these versions are all there are.
func proxyFile(name string, dir bool) bool {
	if dir {
		return name != "sumdb"
	}
	switch path.Ext(name) {
	case ".info", ".mod", ".zip":
		return true
	}
	return false
}
