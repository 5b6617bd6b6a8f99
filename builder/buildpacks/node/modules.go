package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb/v2"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// maxNPMCache bounds npm's cache, in bytes.
const maxNPMCache = 512 << 20

// keyMetadata is the entry of a layer's metadata that says what it was made from.
const keyMetadata = "key"

// installer brings a project's packages into layers:
//
//	npm          cached    npm's own cache of archives
//	development  cached    node_modules with development packages, for the build script
//	modules      launched  node_modules of the running function
//
// The lifecycle restores of "modules" the metadata only: when its key is still
// right, the former image's layer is taken as it is, and nothing is installed,
// downloaded or unpacked.
type installer struct {
	project project
	layers  libcnb.Layers
	tools   string // versions of Node and npm
	sdk     string // folder of Knit's SDK in the image
	used    []libcnb.Layer
}

// install leaves node_modules of the function as a link to the packages that
// run with it, and the project built.
func (i *installer) install(ctx context.Context) error {
	if !i.project.hasDependencies() {
		if err := linkSDK(i.project.modules(), i.sdk); err != nil {
			return err
		}
		return i.buildScript(ctx)
	}
	if i.project.function.Builds() {
		return i.installAndBuild(ctx)
	}
	modules, fresh, err := i.layer("modules", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	if fresh {
		return i.project.linkModules(filepath.Join(modules.Path, modulesFolder))
	}
	if err := i.fetch(ctx, false); err != nil {
		return err
	}
	return i.keep(modules)
}

// installAndBuild needs development packages for the script and runs without them.
func (i *installer) installAndBuild(ctx context.Context) error {
	development, fresh, err := i.layer("development", libcnb.LayerTypes{Cache: true})
	if err != nil {
		return err
	}
	if !fresh || !isFolder(filepath.Join(development.Path, modulesFolder)) {
		if err := i.fetch(ctx, true); err != nil {
			return err
		}
		if err := i.keep(development); err != nil {
			return err
		}
	}
	if err := i.project.linkModules(filepath.Join(development.Path, modulesFolder)); err != nil {
		return err
	}
	if err := i.buildScript(ctx); err != nil {
		return err
	}
	modules, fresh, err := i.layer("modules", libcnb.LayerTypes{Launch: true})
	if err != nil {
		return err
	}
	if fresh {
		return i.project.linkModules(filepath.Join(modules.Path, modulesFolder))
	}
	if err := os.Remove(i.project.modules()); err != nil {
		return fmt.Errorf("unlink %s: %w", modulesFolder, err)
	}
	if err := copyTree(filepath.Join(development.Path, modulesFolder), i.project.modules()); err != nil {
		return fmt.Errorf("copy %s: %w", modulesFolder, err)
	}
	if err := i.npm().run(ctx, "prune", "--omit=dev", "--ignore-scripts", "--offline"); err != nil {
		return err
	}
	return i.keep(modules)
}

// layer opens a layer and tells whether it still holds what the project needs.
func (i *installer) layer(name string, types libcnb.LayerTypes) (libcnb.Layer, bool, error) {
	layer, err := i.layers.Layer(name)
	if err != nil {
		return libcnb.Layer{}, false, err
	}
	key := i.project.key(i.tools)
	fresh := key != "" && layer.Metadata[keyMetadata] == key
	if fresh {
		fmt.Printf("Reusing the packages of %s (%s)\n", i.project.lockName, name)
	} else if layer, err = layer.Reset(); err != nil {
		return libcnb.Layer{}, false, err
	}
	layer.LayerTypes = types
	layer.Metadata = map[string]any{keyMetadata: key}
	i.used = append(i.used, layer)
	return layer, fresh, nil
}

// fetch fills node_modules in the function's folder.
func (i *installer) fetch(ctx context.Context, development bool) error {
	p := i.project
	if p.vendored {
		fmt.Printf("Using the %s of the source as it is; npm is not run\n", modulesFolder)
		return nil
	}
	for _, name := range foreignLocks {
		if isFile(filepath.Join(p.folder, name)) && p.lock == nil {
			fmt.Printf("%s is not read: the build knows npm and package-lock.json\n", name)
		}
	}
	if p.lock == nil {
		fmt.Println("There is no package-lock.json: npm install takes the newest versions that package.json allows, and every build may get others; run `npm install` and push package-lock.json")
	}
	if err := i.cache(); err != nil {
		return err
	}
	if err := i.npm().install(ctx, p.lock != nil, development); err != nil {
		return err
	}
	if !isFolder(p.modules()) { // npm makes none when all packages are optional and left out
		return os.MkdirAll(p.modules(), 0o755)
	}
	return nil
}

// npm runs in the function's folder, with the cache of the layer.
func (i *installer) npm() npm {
	return npm{folder: i.project.folder, cache: filepath.Join(i.layers.Path, "npm")}
}

func (i *installer) cache() error {
	layer, err := i.layers.Layer("npm")
	if err != nil {
		return err
	}
	return trimCache(layer.Path, maxNPMCache)
}

// layersUsed are the layers of the result. The cache layer stays even when npm
// did not run.
func (i *installer) layersUsed() ([]libcnb.Layer, error) {
	layer, err := i.layers.Layer("npm")
	if err != nil {
		return nil, err
	}
	if isFolder(layer.Path) {
		layer.LayerTypes = libcnb.LayerTypes{Cache: true}
		i.used = append(i.used, layer)
	}
	return i.used, nil
}

// keep moves node_modules from the function's folder into the layer and leaves a
// link.
func (i *installer) keep(layer libcnb.Layer) error {
	if err := linkSDK(i.project.modules(), i.sdk); err != nil {
		return err
	}
	kept := filepath.Join(layer.Path, modulesFolder)
	if err := moveTree(i.project.modules(), kept); err != nil {
		return fmt.Errorf("keep %s in layer %s: %w", modulesFolder, layer.Name, err)
	}
	return i.project.linkModules(kept)
}

// buildScript runs the project's own script, if there is one.
func (i *installer) buildScript(ctx context.Context) error {
	if !i.project.function.Builds() {
		return nil
	}
	if err := i.cache(); err != nil {
		return err
	}
	if err := i.npm().run(ctx, "run", "build"); err != nil {
		return fmt.Errorf("the \"build\" script of %s: %w", node.ManifestName, err)
	}
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
