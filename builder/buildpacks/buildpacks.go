// Package buildpacks makes Knit's builder: the image that holds the build
// image, the buildpacks lifecycle and one buildpack per language. pack's
// library assembles it and publishes it straight into a registry. The CLI and
// the installation of a cluster call it; it needs no container engine and
// starts no build itself.
//
// Each folder below is the main package of one language's buildpack.
package buildpacks

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/BurntSushi/toml"

	"github.com/knit-dev/knit/builder/images"
)

//go:embed */buildpack.toml
var descriptors embed.FS

// languages are the buildpacks of the builder in the order of detection.
var languages = []string{"go"}

const packages = "github.com/knit-dev/knit/builder/buildpacks/"

// buildpack is a buildpack's folder on disk, ready for pack.
type buildpack struct {
	ID, Version string
	Dir         string
}

// prepare builds one language's buildpack into dir from the sources of Knit's
// main module.
func prepare(ctx context.Context, module, language, dir string) (buildpack, error) {
	descriptor, err := descriptors.ReadFile(path.Join(language, "buildpack.toml"))
	if err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: %w", language, err)
	}
	var parsed struct{ Buildpack struct{ ID, Version string } }
	if err := toml.Unmarshal(descriptor, &parsed); err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: buildpack.toml: %w", language, err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: %w", language, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "buildpack.toml"), descriptor, 0o644); err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: %w", language, err)
	}
	if err := images.Program(ctx, module, packages+language, filepath.Join(bin, "build")); err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: %w", language, err)
	}
	// One program plays both parts and knows its part by its name.
	if err := os.Symlink("build", filepath.Join(bin, "detect")); err != nil {
		return buildpack{}, fmt.Errorf("buildpack for %s: %w", language, err)
	}
	return buildpack{ID: parsed.Buildpack.ID, Version: parsed.Buildpack.Version, Dir: dir}, nil
}
