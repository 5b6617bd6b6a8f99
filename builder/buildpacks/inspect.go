package buildpacks

import (
	"context"
	"fmt"
	"io"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"

	"github.com/knit-dev/knit/builder/images"
)

// Builder is what a builder image says of itself.
type Builder struct {
	Image      string // by digest
	Size       int64  // in bytes, compressed, the build image included
	BuildImage string // by digest, empty when Knit did not make the builder
	RunImages  []RunImage
	Lifecycle  string   // version
	Buildpacks []string // id@version, in the order of detection
	Extensions []string // id@version; each switches to a run image that a buildpack requires
}

// RunImage is a base that the builder puts functions on. The first one is for
// those whose buildpack asks for none.
type RunImage struct {
	Image string
	Size  int64 // in bytes, compressed; 0 when the registry does not give the image
}

// Inspect reads the builder from the registry. An empty reference is the one
// that Create published last.
func Inspect(ctx context.Context, registry images.Registry, reference string) (Builder, error) {
	reference, err := builderReference(registry, reference)
	if err != nil {
		return Builder{}, err
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
	b := Builder{
		Image: id.String(), Size: sizeOf(img), BuildImage: base, Lifecycle: info.Lifecycle.Info.Version.String(),
	}
	for _, entry := range info.Order {
		for _, module := range entry.GroupDetectionOrder {
			b.Buildpacks = append(b.Buildpacks, module.FullName())
		}
	}
	for _, extension := range info.Extensions {
		b.Extensions = append(b.Extensions, extension.FullName())
	}
	for _, run := range info.RunImages {
		b.RunImages = append(b.RunImages, RunImage{Image: run.Image, Size: fetch.size(ctx, run.Image)})
	}
	return b, nil
}

// builderReference is the builder that Create published last, unless there is a reference.
func builderReference(registry images.Registry, reference string) (string, error) {
	if reference != "" {
		return reference, nil
	}
	repository, err := registry.Repository(Repository)
	if err != nil {
		return "", err
	}
	return repository.Tag(tag).Name(), nil
}

// size is 0 for an image that cannot be had: a builder may name run images in
// registries that only its builds reach.
func (f *fetcher) size(ctx context.Context, reference string) int64 {
	img, err := f.Fetch(ctx, reference, image.FetchOptions{})
	if err != nil {
		return 0
	}
	return sizeOf(img)
}

// sizeOf adds up the compressed layers.
func sizeOf(img imgutil.Image) int64 {
	manifest, err := img.UnderlyingImage().Manifest()
	if err != nil {
		return 0
	}
	var size int64
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size
}
