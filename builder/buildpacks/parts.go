package buildpacks

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	pubbldr "github.com/buildpacks/pack/builder"
	"github.com/buildpacks/pack/pkg/dist"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/phase"
)

// parts are what a builder is assembled from.
type parts struct {
	build     name.Digest   // published
	bases     []name.Digest // run images, published; the first is the default
	lifecycle string        // path of its archive

	lifecycleImage name.Digest // published

	buildpacks, extensions []module
}

// phaseProgram runs the lifecycle's phases in a cluster.
const phaseProgram = "github.com/knit-dev/knit/builder/phase/program"

// partsAtOnce is how many parts are made at the same time: enough to compile
// one while another is compressed or sent.
const partsAtOnce = 3

// makeParts makes everything, several at a time, and publishes the bases.
func (o Options) makeParts(ctx context.Context, scratch string) (parts, error) {
	all := slices.Concat(languages, o.more)
	made := parts{bases: make([]name.Digest, 1), buildpacks: make([]module, len(all))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	start := func(step string, work func() error) {
		group.Go(func() error {
			o.Progress(step)
			return work()
		})
	}
	start("making the build image", func() (err error) {
		made.build, err = o.base(ctx, buildRepository, func() (v1.Image, error) {
			img, err := images.Build(ctx, o.Cache, o.Progress)
			if err != nil {
				return nil, err
			}
			return images.WithProgram(ctx, o.Cache, img, o.Module, phaseProgram, phase.Path)
		})
		return err
	})
	start("making the static run image", func() (err error) {
		made.bases[0], err = o.base(ctx, runRepository+"static", func() (v1.Image, error) { return images.RunStatic(ctx, o.Cache) })
		return err
	})
	start("building the buildpacks lifecycle", func() (err error) {
		if made.lifecycle, err = images.Lifecycle(ctx, o.Cache, o.Module); err != nil {
			return err
		}
		made.lifecycleImage, err = o.base(ctx, lifecycleRepository, func() (v1.Image, error) { return images.LifecycleImage(ctx, o.Cache, made.lifecycle) })
		return err
	})
	own := make([]*runBase, len(all))
	for i, l := range all {
		start("building the buildpack for "+l.name, func() (err error) {
			made.buildpacks[i], err = l.prepare(ctx, o.Module, filepath.Join(scratch, l.name))
			return err
		})
		if l.base == nil {
			continue
		}
		start("making the run image for "+l.name, func() (err error) {
			own[i], err = o.runBase(ctx, l, filepath.Join(scratch, runBasePrefix+l.name))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return parts{}, err
	}
	for _, base := range own {
		if base != nil {
			made.bases, made.extensions = append(made.bases, base.image), append(made.extensions, base.extension)
		}
	}
	return made, nil
}

// runBase is a published run image and the extension that switches to it.
type runBase struct {
	image     name.Digest
	extension module
}

func (o Options) runBase(ctx context.Context, l language, dir string) (*runBase, error) {
	image, err := o.base(ctx, runRepository+l.name, func() (v1.Image, error) { return l.base(ctx, o.Cache) })
	if err != nil {
		return nil, fmt.Errorf("run image for %s: %w", l.name, err)
	}
	extension, err := writeRunBase(dir, l.name, image)
	if err != nil {
		return nil, err
	}
	return &runBase{image: image, extension: extension}, nil
}

// base makes and publishes one base image.
func (o Options) base(ctx context.Context, repository string, build func() (v1.Image, error)) (name.Digest, error) {
	img, err := build()
	if err != nil {
		return name.Digest{}, err
	}
	return o.Registry.Push(ctx, repository, img, tag)
}

// config describes the builder to pack. Every buildpack is a group of its own:
// the first that passes builds. All extensions stand in one group; those that
// no buildpack requires drop out.
func (p parts) config() pubbldr.Config {
	config := pubbldr.Config{
		Description: "Knit: builds functions offline",
		Lifecycle:   pubbldr.LifecycleConfig{URI: p.lifecycle},
		Build:       pubbldr.BuildConfig{Image: p.build.String()},
	}
	for _, base := range p.bases {
		config.Run.Images = append(config.Run.Images, pubbldr.RunImageConfig{Image: base.String()})
	}
	for _, m := range p.buildpacks {
		config.Buildpacks = append(config.Buildpacks, m.config())
		config.Order = append(config.Order, dist.OrderEntry{Group: []dist.ModuleRef{m.ref()}})
	}
	var group []dist.ModuleRef
	for _, m := range p.extensions {
		config.Extensions = append(config.Extensions, m.config())
		group = append(group, m.ref())
	}
	if len(group) > 0 {
		config.OrderExtensions = dist.Order{{Group: group}}
	}
	return config
}

func (m module) ref() dist.ModuleRef {
	return dist.ModuleRef{ModuleInfo: dist.ModuleInfo{ID: m.ID, Version: m.Version}}
}

func (m module) config() pubbldr.ModuleConfig {
	return pubbldr.ModuleConfig{ModuleInfo: m.ref().ModuleInfo, ImageOrURI: dist.ImageOrURI{BuildpackURI: dist.BuildpackURI{URI: m.Dir}}}
}

// oneAtATime lets parallel work report to somebody who expects one line after
// the other.
func oneAtATime(progress func(string)) func(string) {
	var mu sync.Mutex
	return func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if progress != nil {
			progress(step)
		}
	}
}
