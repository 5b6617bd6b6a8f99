package buildpacks

import (
	"context"
	"fmt"
	"io"

	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"

	"github.com/knit-dev/knit/builder/images"
)

// Builder is what a builder image says of itself.
type Builder struct {
	Image      string // by digest
	BuildImage string // by digest, empty when Knit did not make the builder
	RunImages  []string
	Lifecycle  string   // version
	Buildpacks []string // id@version, in the order of detection
}

// Inspect reads the builder from the registry. An empty reference is the one
// that Create published last.
func Inspect(ctx context.Context, registry images.Registry, reference string) (Builder, error) {
	if reference == "" {
		repository, err := registry.Repository(Repository)
		if err != nil {
			return Builder{}, err
		}
		reference = repository.Tag(tag).Name()
	}
	fetch := newFetcher(ctx, registry)
	defer fetch.close()
	img, err := fetch.Fetch(ctx, reference, image.FetchOptions{})
	if err != nil {
		return Builder{}, fmt.Errorf("inspect builder %s: %w; make one with `knit builder create`", reference, err)
	}
	id, err := img.Identifier()
	if err != nil {
		return Builder{}, fmt.Errorf("inspect builder %s: %w", reference, err)
	}
	base, err := img.Label(buildImageLabel)
	if err != nil {
		return Builder{}, fmt.Errorf("inspect builder %s: %w", reference, err)
	}
	pack, err := client.NewClient(client.WithFetcher(fetch), client.WithLogger(logging.NewSimpleLogger(io.Discard)))
	if err != nil {
		return Builder{}, err
	}
	info, err := pack.InspectBuilder(reference, false)
	if err != nil {
		return Builder{}, fmt.Errorf("inspect builder %s: %w", reference, err)
	}
	if info == nil || info.Lifecycle.Info.Version == nil {
		return Builder{}, fmt.Errorf("inspect builder %s: it is no builder", reference)
	}
	b := Builder{Image: id.String(), BuildImage: base, Lifecycle: info.Lifecycle.Info.Version.String()}
	for _, run := range info.RunImages {
		b.RunImages = append(b.RunImages, run.Image)
	}
	for _, entry := range info.Order {
		for _, module := range entry.GroupDetectionOrder {
			b.Buildpacks = append(b.Buildpacks, module.FullName())
		}
	}
	return b, nil
}
