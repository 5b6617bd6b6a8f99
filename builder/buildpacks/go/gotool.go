package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// Where the build image holds what builds need offline; builder/images writes it there.
const (
	goCommand   = "/usr/local/go/bin/go"
	moduleProxy = "/opt/knit/go/modules"
	seedCache   = "/opt/knit/go/cache"
)

// sdkModule is Knit's SDK, which the build image holds beside the modules that it
// needs.
const sdkModule = "github.com/knit-dev/knit/sdk"

const defaultProxy = "https://proxy.golang.org,direct"

// goTool runs the build image's Go for one function.
type goTool struct {
	folder   string // the function's source, the working folder
	scratch  string // gone after the build
	modules  string // GOMODCACHE
	compiled string // where the cache server keeps what it adds to the image's cache
}

// build links the main package of the overlay. The compiler's messages go to
// the build's log unchanged: they name files relative to the function's folder.
func (g goTool) build(ctx context.Context, overlay, binary string) error {
	cmd := exec.CommandContext(ctx, goCommand, "build", "-overlay", overlay, "-o", binary,
		"-trimpath", "-buildvcs=false", "-modcacherw", "-ldflags=-s -w", "./"+golang.MainFolder)
	cmd.Dir = g.folder
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the buildpack's program: %w", err)
	}
	cmd.Env = append(g.environment(os.Environ()), "GOCACHEPROG="+strings.Join([]string{self, cacheMode, seedCache, g.compiled}, " "))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the Go function does not compile (%w); the messages of the Go compiler are above", err)
	}
	return nil
}

// environment keeps what the user set (GOFLAGS, GOPRIVATE, proxies …) and pins
// what makes the result small, static and independent of the machine.
func (g goTool) environment(base []string) []string {
	set := map[string]string{}
	for _, entry := range base {
		name, value, _ := strings.Cut(entry, "=")
		set[name] = value
	}
	proxy := cmp.Or(set["GOPROXY"], defaultProxy)
	// No database of sums knows Knit's SDK. Without a value of its own, this
	// variable has that of GOPRIVATE.
	unlisted := strings.TrimPrefix(cmp.Or(set["GONOSUMDB"], set["GOPRIVATE"])+","+sdkModule, ",")
	return append(base,
		"GONOSUMDB="+unlisted,
		"GOPROXY=file://"+moduleProxy+","+proxy,
		"GOMODCACHE="+g.modules,
		"GOCACHE="+filepath.Join(g.scratch, "unused"), // the cache server stands in for it
		"GOTOOLCHAIN=local",                           // the builder's own Go, never one that a go.mod asks to download
		"CGO_ENABLED=0",                               // the run image has no C library
		"GOWORK=off",
		"GOENV=off",
	)
}

// writeOverlay writes the files into scratch and the JSON for go build's
// -overlay that lays them over the function's folder.
func writeOverlay(scratch, folder string, files map[string][]byte) (string, error) {
	if _, err := os.Lstat(filepath.Join(folder, golang.MainFolder)); err == nil {
		return "", fmt.Errorf("%s: Knit writes its main package under this name; rename the folder", golang.MainFolder)
	}
	replace := map[string]string{}
	for name, content := range files {
		path := filepath.Join(scratch, "src", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("write scaffold: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return "", fmt.Errorf("write scaffold: %w", err)
		}
		replace[filepath.Join(folder, filepath.FromSlash(name))] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	name := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o644); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return name, nil
}
