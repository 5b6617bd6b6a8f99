package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/buildpacks/libcnb/v2"
	"golang.org/x/mod/modfile"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// jobProcess is the process type that calls the function once.
const jobProcess = "job"

// build compiles the function into a launch layer of its own.
func build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	// pack hands the source's folder over open to everybody, and so it would be in
	// the image. On a platform where it is not the build user's, it stays.
	_ = os.Chmod(ctx.ApplicationPath, 0o755)
	at, err := findPlace(ctx.ApplicationPath, ctx.Platform.Environment)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	function, err := golang.Detect(at.folder)
	if err != nil {
		return libcnb.BuildResult{}, fmt.Errorf("Go function: %w", err)
	}
	modules, err := ctx.Layers.Layer("modules")
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	compiled, err := ctx.Layers.Layer("compiled")
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	program, err := freshLayer(ctx, "function")
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	modules.LayerTypes = libcnb.LayerTypes{Cache: true}
	compiled.LayerTypes = libcnb.LayerTypes{Cache: true}
	program.LayerTypes = libcnb.LayerTypes{Launch: true}
	program.LaunchEnvironment.ProcessOverride(jobProcess, "KNIT_MODE", "job")

	binary := filepath.Join(program.Path, "function")
	if err := compile(at, function, binary, modules.Path, compiled.Path); err != nil {
		return libcnb.BuildResult{}, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return libcnb.BuildResult{}, fmt.Errorf("read build information of the function: %w", err)
	}
	if err := writeSBOM(program.SBOMPath(libcnb.CycloneDXJSON), info); err != nil {
		return libcnb.BuildResult{}, err
	}
	if err := dropSource(at, os.Getenv(keepVariable)); err != nil {
		return libcnb.BuildResult{}, err
	}
	result := libcnb.NewBuildResult()
	result.Layers = []libcnb.Layer{modules, compiled, program}
	result.Processes = []libcnb.Process{
		{Type: "web", Command: []string{binary}, WorkingDirectory: at.workingFolder(), Default: true},
		{Type: jobProcess, Command: []string{binary}, WorkingDirectory: at.workingFolder()},
	}
	result.Labels = []libcnb.Label{
		{Key: "dev.knit.language", Value: golang.Name},
		{Key: "dev.knit.function.kind", Value: string(function.Kind)},
		{Key: "dev.knit.go.version", Value: info.GoVersion},
	}
	return result, nil
}

// freshLayer is empty, whatever an earlier build left there.
func freshLayer(ctx libcnb.BuildContext, name string) (libcnb.Layer, error) {
	layer, err := ctx.Layers.Layer(name)
	if err != nil {
		return libcnb.Layer{}, err
	}
	return layer.Reset()
}

// compile scaffolds and builds the function, and says what it did.
func compile(at place, function golang.Function, binary, modules, compiled string) error {
	module, err := at.packagePath()
	if err != nil {
		return err
	}
	files, err := golang.Scaffold(function, module)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "knit-go-")
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	overlay, err := writeOverlay(scratch, at.folder, files)
	if err != nil {
		return err
	}
	begun := time.Now()
	tool := goTool{folder: at.folder, scratch: scratch, modules: modules, compiled: compiled}
	if err := tool.build(context.Background(), overlay, binary); err != nil {
		return fmt.Errorf("%w%s", err, at.sdkMismatch())
	}
	size, err := os.Stat(binary)
	if err != nil {
		return fmt.Errorf("the Go compiler left no program: %w", err)
	}
	fmt.Printf("Compiled %s function %s in %s: %.1f MB\n",
		function.Kind, function.Pos, time.Since(begun).Round(time.Millisecond), float64(size.Size())/1e6)
	return nil
}

// modulePath is the module of a folder's go.mod, empty when there is none.
func modulePath(folder string) (string, error) {
	name := filepath.Join(folder, "go.mod")
	content, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the function's module: %w", err)
	}
	module := modfile.ModulePath(content)
	if module == "" {
		return "", fmt.Errorf("go.mod: no module line; write \"module function\" or delete the file")
	}
	return module, nil
}
