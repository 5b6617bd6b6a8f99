package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb/v2"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// build installs packages, builds the project when it wants to be built, and
// lays the runtime beside it. The function's own files stay where they are.
func build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	// pack hands the source's folder over open to everybody, and so it would be in
	// the image. On a platform where it is not the build user's, it stays.
	_ = os.Chmod(ctx.ApplicationPath, 0o755)
	folder, err := functionFolder(ctx.ApplicationPath, ctx.Platform.Environment[pathVariable])
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	p, err := openProject(folder)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	versions, err := toolVersions()
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	fmt.Printf("The function is in %s (%s)\n", p.function.Entry, p.function.EntryFrom)
	runtime, err := runtimeLayer(ctx)
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	i := &installer{project: p, layers: ctx.Layers, tools: strings.Join(versions, " "), sdk: filepath.Join(runtime.Path, sdkFolder)}
	if err := i.install(context.Background()); err != nil {
		return libcnb.BuildResult{}, err
	}
	if err := check(context.Background(), p); err != nil {
		return libcnb.BuildResult{}, err
	}
	packages, err := p.installedPackages()
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	if err := writeSBOM(ctx.Layers.LaunchSBOMPath(libcnb.CycloneDXJSON), makeBOM(p.function, versions[0], packages)); err != nil {
		return libcnb.BuildResult{}, err
	}
	if err := dropSecrets(p.folder); err != nil {
		return libcnb.BuildResult{}, err
	}
	layers, err := i.layersUsed()
	if err != nil {
		return libcnb.BuildResult{}, err
	}
	return makeResult(p, versions[0], append(layers, runtime)), nil
}

func makeResult(p project, nodeVersion string, layers []libcnb.Layer) libcnb.BuildResult {
	result := libcnb.NewBuildResult()
	result.Layers = layers
	runtime := layers[len(layers)-1].Path
	command := append([]string{nodeCommand}, node.Arguments(runtime, p.function)...)
	result.Processes = []libcnb.Process{
		{Type: "web", Command: command, WorkingDirectory: p.folder, Default: true},
		{Type: "job", Command: command, WorkingDirectory: p.folder},
	}
	result.Labels = []libcnb.Label{
		{Key: "dev.knit.language", Value: node.Name},
		{Key: "dev.knit.function.kind", Value: string(p.function.Kind)},
		{Key: "dev.knit.node.version", Value: nodeVersion},
	}
	return result
}

// runtimeLayer holds the process around the function and its environment.
func runtimeLayer(ctx libcnb.BuildContext) (libcnb.Layer, error) {
	layer, err := ctx.Layers.Layer("runtime")
	if err != nil {
		return libcnb.Layer{}, err
	}
	if layer, err = layer.Reset(); err != nil {
		return libcnb.Layer{}, err
	}
	files, err := node.Runtime()
	if err != nil {
		return libcnb.Layer{}, err
	}
	if err := writeFiles(layer.Path, files); err != nil {
		return libcnb.Layer{}, fmt.Errorf("write the runtime: %w", err)
	}
	if files, err = node.SDK(); err != nil {
		return libcnb.Layer{}, err
	}
	if err := writeFiles(filepath.Join(layer.Path, sdkFolder), files); err != nil {
		return libcnb.Layer{}, fmt.Errorf("write Knit's SDK: %w", err)
	}
	layer.LayerTypes = libcnb.LayerTypes{Launch: true}
	layer.LaunchEnvironment.Default("NODE_ENV", "production")
	layer.LaunchEnvironment.ProcessOverride("job", "KNIT_MODE", "job")
	return layer, nil
}

func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// toolVersions are those of Node and npm in the build image.
func toolVersions() ([]string, error) {
	content, err := os.ReadFile(versionsFile)
	if err != nil {
		return nil, fmt.Errorf("the build image holds no Node: %w", err)
	}
	versions := strings.Fields(string(content))
	if len(versions) != 2 {
		return nil, fmt.Errorf("the build image names its Node as %q", content)
	}
	return versions, nil
}

// dropSecrets removes what is for the build alone and often holds a token.
func dropSecrets(folder string) error {
	if err := os.Remove(filepath.Join(folder, npmrcName)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove %s: %w", npmrcName, err)
	}
	return nil
}
