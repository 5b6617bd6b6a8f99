package buildpacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	pubbldr "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/dist"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/builder/images"
)

// Repositories that Create writes to, below the registry's prefix.
const (
	Repository      = "knit/builder"
	runRepository   = "knit/run-static"
	buildRepository = "knit/build"

	tag = "latest"
)

// buildImageLabel names the build image that a builder was made from.
const buildImageLabel = "dev.knit.builder.build-image"

// Options say from what and whereto Create makes the builder.
type Options struct {
	Module   string            // folder of Knit's main module, whose go.mod pins the lifecycle
	Cache    *images.Cache     // of layers and packages
	Registry images.Registry   // where everything is published
	Progress func(step string) // told each step; may be nil
}

// Create makes run image, build image, lifecycle, buildpacks and the builder,
// publishes what the registry lacks, and returns the builder by digest. With
// the same cache, unchanged sources and Go give the same digest.
func Create(ctx context.Context, o Options) (name.Digest, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	scratch, err := os.MkdirTemp("", "knit-builder-")
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	config, err := o.config(ctx, scratch)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	repository, err := o.Registry.Repository(Repository)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	o.Progress("publishing the builder")
	built, err := publish(ctx, o.Registry, repository.Tag(tag), config)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder %s: %w", repository, err)
	}
	return built, nil
}

// publish lets pack assemble the builder and save it in the registry.
func publish(ctx context.Context, registry images.Registry, to name.Tag, config pubbldr.Config) (name.Digest, error) {
	fetch := newFetcher(ctx, registry)
	defer fetch.close()
	pack, err := client.NewClient(client.WithFetcher(fetch), client.WithLogger(logging.NewSimpleLogger(io.Discard)))
	if err != nil {
		return name.Digest{}, err
	}
	err = pack.CreateBuilder(ctx, client.CreateBuilderOptions{
		BuilderName: to.Name(),
		Config:      config,
		Publish:     true,
		PullPolicy:  image.PullAlways,
		Labels:      map[string]string{buildImageLabel: config.Build.Image},
	})
	if err != nil {
		return name.Digest{}, err
	}
	if fetch.saved == (name.Digest{}) {
		return name.Digest{}, errors.New("pack saved no image")
	}
	return fetch.saved, nil
}

// config makes every part and describes the builder to pack.
func (o Options) config(ctx context.Context, scratch string) (pubbldr.Config, error) {
	run, err := o.base(ctx, runRepository, func() (v1.Image, error) { return images.RunStatic(ctx, o.Cache) })
	if err != nil {
		return pubbldr.Config{}, err
	}
	build, err := o.base(ctx, buildRepository, func() (v1.Image, error) { return images.Build(ctx, o.Cache, o.Progress) })
	if err != nil {
		return pubbldr.Config{}, err
	}
	o.Progress("building the buildpacks lifecycle")
	lifecycle, err := images.Lifecycle(ctx, o.Cache, o.Module)
	if err != nil {
		return pubbldr.Config{}, err
	}
	config := pubbldr.Config{
		Description: "Knit: builds functions offline",
		Lifecycle:   pubbldr.LifecycleConfig{URI: lifecycle},
		Build:       pubbldr.BuildConfig{Image: build.String()},
		Run:         pubbldr.RunConfig{Images: []pubbldr.RunImageConfig{{Image: run.String()}}},
	}
	for _, language := range languages {
		o.Progress("building the buildpack for " + language)
		bp, err := prepare(ctx, o.Module, language, filepath.Join(scratch, language))
		if err != nil {
			return pubbldr.Config{}, err
		}
		info := dist.ModuleInfo{ID: bp.ID, Version: bp.Version}
		config.Buildpacks = append(config.Buildpacks, pubbldr.ModuleConfig{
			ModuleInfo: info,
			ImageOrURI: dist.ImageOrURI{BuildpackURI: dist.BuildpackURI{URI: bp.Dir}},
		})
		config.Order = append(config.Order, dist.OrderEntry{Group: []dist.ModuleRef{{ModuleInfo: info}}})
	}
	return config, nil
}

// base makes and publishes one base image.
func (o Options) base(ctx context.Context, repository string, build func() (v1.Image, error)) (name.Digest, error) {
	o.Progress("making " + repository)
	img, err := build()
	if err != nil {
		return name.Digest{}, err
	}
	return o.Registry.Push(ctx, repository, img, tag)
}
