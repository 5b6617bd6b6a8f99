package buildpacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/knit-dev/knit/builder/images"
)

// Repositories that Create writes to, below the registry's prefix.
const (
	Repository          = "knit/builder"
	buildRepository     = "knit/build"
	lifecycleRepository = "knit/lifecycle"
	runRepository       = "knit/" + runBasePrefix // and the name of the base

	tag = "latest"
)

// Labels of a builder: the build image that it was made from, and the image
// that has its lifecycle alone, for the phases that pack runs apart.
const (
	buildImageLabel     = "dev.knit.builder.build-image"
	lifecycleImageLabel = "dev.knit.builder.lifecycle-image"
)

// Options say from what and whereto Create makes the builder.
type Options struct {
	Module   string            // folder of Knit's main module, whose go.mod pins the lifecycle
	Cache    *images.Cache     // of layers and packages
	Registry images.Registry   // where everything is published
	Progress func(step string) // told each step, one at a time; may be nil

	more []language // after Knit's own; for tests
}

// Create makes run images, build image, lifecycle, buildpacks, extensions and
// the builder, publishes what the registry lacks, and returns the builder by
// digest. With the same cache, unchanged sources and Go give the same digest.
func Create(ctx context.Context, o Options) (name.Digest, error) {
	o.Progress = oneAtATime(o.Progress)
	scratch, err := os.MkdirTemp("", "knit-builder-")
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	made, err := o.makeParts(ctx, scratch)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	repository, err := o.Registry.Repository(Repository)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder: %w", err)
	}
	o.Progress("publishing the builder")
	built, err := publish(ctx, o.Registry, repository.Tag(tag), made)
	if err != nil {
		return name.Digest{}, fmt.Errorf("create builder %s: %w", repository, err)
	}
	return built, nil
}

// publish lets pack assemble the builder and save it in the registry.
func publish(ctx context.Context, registry images.Registry, to name.Tag, made parts) (name.Digest, error) {
	fetch := newFetcher(ctx, registry)
	defer fetch.close()
	pack, err := client.NewClient(client.WithFetcher(fetch), client.WithLogger(logging.NewSimpleLogger(io.Discard)))
	if err != nil {
		return name.Digest{}, err
	}
	err = pack.CreateBuilder(ctx, client.CreateBuilderOptions{
		BuilderName: to.Name(),
		Config:      made.config(),
		Publish:     true,
		PullPolicy:  image.PullAlways,
		Labels:      map[string]string{buildImageLabel: made.build.String(), lifecycleImageLabel: made.lifecycleImage.String()},
	})
	if err != nil {
		return name.Digest{}, err
	}
	if fetch.saved == (name.Digest{}) {
		return name.Digest{}, errors.New("pack saved no image")
	}
	return fetch.saved, nil
}
