// Package buildpacks makes Knit's builder: the image that holds the build
// image, the buildpacks lifecycle, one buildpack per language and one image
// extension per run base. pack's library assembles it and publishes it straight
// into a registry. The CLI and the installation of a cluster call it; it needs
// no container engine and starts no build itself.
//
// Each folder below with a buildpack.toml is the main package of one language's
// buildpack.
package buildpacks

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/BurntSushi/toml"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/builder/images"
)

//go:embed */buildpack.toml
var descriptors embed.FS

// language is one buildpack of the builder.
type language struct {
	name string
	// folder holds the finished buildpack; empty: it is built from the package
	// of the language's name.
	folder string
	// base makes the run base that images of the language need; nil: the
	// builder's default, the static one, is enough.
	base func(context.Context, *images.Cache) (v1.Image, error)
}

// languages are the buildpacks of the builder in the order of detection: the
// first that finds a function in the folder builds it, unless the Function
// names its language.
var languages = []language{{name: "go"}, {name: "node", base: images.NodeRun}, {name: "python", base: images.PythonRun}}

const packages = "github.com/knit-dev/knit/builder/buildpacks/"

// module is a buildpack's or an extension's folder on disk, ready for pack.
type module struct {
	ID, Version string
	Dir         string
}

// prepare builds the language's buildpack into dir from the sources of Knit's
// main module.
func (l language) prepare(ctx context.Context, source, dir string) (module, error) {
	if l.folder != "" {
		return readModule(l.folder)
	}
	descriptor, err := descriptors.ReadFile(path.Join(l.name, "buildpack.toml"))
	if err != nil {
		return module{}, fmt.Errorf("buildpack for %s: %w", l.name, err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return module{}, fmt.Errorf("buildpack for %s: %w", l.name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "buildpack.toml"), descriptor, 0o644); err != nil {
		return module{}, fmt.Errorf("buildpack for %s: %w", l.name, err)
	}
	if err := images.Program(ctx, source, packages+l.name, filepath.Join(bin, "build")); err != nil {
		return module{}, fmt.Errorf("buildpack for %s: %w", l.name, err)
	}
	// One program plays both parts and knows its part by its name.
	if err := os.Symlink("build", filepath.Join(bin, "detect")); err != nil {
		return module{}, fmt.Errorf("buildpack for %s: %w", l.name, err)
	}
	return readModule(dir)
}

// readModule reads a buildpack's id and version.
func readModule(dir string) (module, error) {
	var parsed struct{ Buildpack struct{ ID, Version string } }
	if _, err := toml.DecodeFile(filepath.Join(dir, "buildpack.toml"), &parsed); err != nil {
		return module{}, fmt.Errorf("buildpack in %s: %w", dir, err)
	}
	return module{ID: parsed.Buildpack.ID, Version: parsed.Buildpack.Version, Dir: dir}, nil
}
