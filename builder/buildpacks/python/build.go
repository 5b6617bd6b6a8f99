package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb/v2"

	"github.com/knit-dev/knit/runtime/lang/python"
)

// interpreter is Python's path in the build image and in the run base.
const interpreter = "/usr/bin/python3"

// pythonVersion is the Python of both; builder/images has the same.
const pythonVersion = "3.11"

// hashKey is the entry of a layer's metadata that says what it was made from.
const hashKey = "made-from"

// build fills the layers runtime, dependencies and pip-cache, and compiles the
// source in its place. A launch layer whose inputs are those of the previous
// image is not made again: the lifecycle takes it from that image.
func build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	// pack hands the source's folder over open to everybody, and so it would be in
	// the image. On a platform where it is not the build user's, it stays.
	_ = os.Chmod(ctx.ApplicationPath, 0o755)
	folder, err := functionFolder(ctx.ApplicationPath, ctx.Platform.Environment)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	function, err := python.Detect(folder)
	if err != nil {
		return libcnb.BuildResult{}, fmt.Errorf("Python function: %w", err)
	}
	result := libcnb.NewBuildResult()
	wanted, err := findRequirements(folder)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	packages := ""
	if wanted != nil {
		dependencies, cache, err := dependencyLayers(ctx, wanted)
		if err != nil {
			return libcnb.BuildResult{}, err
		}
		packages = sitePath(dependencies)
		result.Layers = append(result.Layers, dependencies, cache)
	}
	runtime, err := runtimeLayer(ctx)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	result.Layers = append(result.Layers, runtime)
	if err := dropUnneeded(ctx.ApplicationPath, wanted); err != nil {
		return libcnb.BuildResult{}, err
	}
	if err := compileSource(context.Background(), ctx.ApplicationPath, folder, filepath.Join(folder, filepath.FromSlash(function.Pos.File))); err != nil {
		return libcnb.BuildResult{}, err
	}
	command := append([]string{interpreter, "-P", filepath.Join(runtime.Path, python.Main)}, function.Arguments(folder, ctx.ApplicationPath, packages)...)
	result.Processes = []libcnb.Process{{Type: "web", Command: command, Default: true}, {Type: "job", Command: command}}
	result.Labels = []libcnb.Label{
		{Key: "dev.knit.language", Value: python.Name},
		{Key: "dev.knit.function.kind", Value: string(function.Kind)},
		{Key: "dev.knit.python.version", Value: pythonVersion},
	}
	fmt.Printf("Prepared %s function %s: %s in %s\n", function.Kind, function.Pos, function.Entry, function.Module)
	return result, nil
}

// runtimeLayer holds Knit's runtime, compiled.
func runtimeLayer(ctx libcnb.BuildContext) (libcnb.Layer, error) {
	files, err := python.Runtime()
	if err != nil {
		return libcnb.Layer{}, err
	}
	layer, reused, err := launchLayer(ctx, "runtime", hashFiles(files))
	if err != nil || reused {
		return layer, err
	}
	if err := writeFiles(layer.Path, files); err != nil {
		return libcnb.Layer{}, err
	}
	if err := compileFolder(context.Background(), layer.Path); err != nil {
		return libcnb.Layer{}, err
	}
	layer.LaunchEnvironment.ProcessOverride("job", "KNIT_MODE", "job")
	return layer, writeSBOM(layer.SBOMPath(libcnb.CycloneDXJSON), nil)
}

// launchLayer returns the layer and whether the previous image has it just so;
// otherwise it is empty and its metadata are set.
func launchLayer(ctx libcnb.BuildContext, name, madeFrom string) (layer libcnb.Layer, reused bool, err error) {
	layer, err = ctx.Layers.Layer(name)
	if err != nil {
		return libcnb.Layer{}, false, err
	}
	madeFrom = hashStrings(ctx.Buildpack.Info.Version, pythonVersion, madeFrom)
	reused = layer.Metadata[hashKey] == madeFrom
	if !reused {
		if layer, err = layer.Reset(); err != nil {
			return libcnb.Layer{}, false, err
		}
	}
	layer.LayerTypes = libcnb.LayerTypes{Launch: true}
	layer.Metadata = map[string]any{hashKey: madeFrom}
	return layer, reused, nil
}
