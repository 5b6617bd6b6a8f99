package buildpacks

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/knit-dev/knit/builder/images"
)

// fetcher gives pack its images. pack's own fetcher only knows the process's
// default transport, which would have to be changed for everybody to trust the
// CA of a cluster's registry; this one brings the transport of the registry.
type fetcher struct {
	options []remote.Option
	close   func()
	saved   name.Digest // the last image that pack saved
}

func newFetcher(ctx context.Context, registry images.Registry) *fetcher {
	options, done := registry.Remote(ctx)
	return &fetcher{options: options, close: done}
}

// Fetch returns an image that saves itself into the registry again.
func (f *fetcher) Fetch(_ context.Context, reference string, _ image.FetchOptions) (imgutil.Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	base, err := remote.Image(ref, f.options...)
	if hasStatus(err, http.StatusNotFound) {
		return nil, fmt.Errorf("image %s: %w", ref, image.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	core, err := imgutil.NewCNBImage(imgutil.ImageOptions{BaseImage: base, MediaTypes: imgutil.OCITypes})
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", ref, err)
	}
	return &registryImage{CNBImageCore: core, fetcher: f, name: reference}, nil
}

// CheckReadAccess reports whether the repository can be read, be there or not.
func (f *fetcher) CheckReadAccess(reference string, _ image.FetchOptions) bool {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return false
	}
	_, err = remote.Head(ref, f.options...)
	return err == nil || hasStatus(err, http.StatusNotFound)
}

func hasStatus(err error, status int) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == status
}

// registryImage is imgutil's editable image with the registry as its store.
type registryImage struct {
	*imgutil.CNBImageCore
	fetcher *fetcher
	name    string
}

func (i *registryImage) Kind() string       { return "remote" }
func (i *registryImage) Name() string       { return i.name }
func (i *registryImage) Rename(name string) { i.name = name }

func (i *registryImage) Found() bool {
	ref, err := name.ParseReference(i.name)
	if err != nil {
		return false
	}
	_, err = remote.Head(ref, i.fetcher.options...)
	return err == nil
}

// Valid holds for every image that could be fetched: the registry checks
// manifests and blobs by digest.
func (i *registryImage) Valid() bool { return i.Found() }

func (i *registryImage) Identifier() (imgutil.Identifier, error) {
	ref, err := name.ParseReference(i.name)
	if err != nil {
		return nil, err
	}
	digest, err := i.Digest()
	if err != nil {
		return nil, err
	}
	return ref.Context().Digest(digest.String()), nil
}

func (i *registryImage) Delete() error {
	id, err := i.Identifier()
	if err != nil {
		return err
	}
	ref, err := name.NewDigest(id.String())
	if err != nil {
		return err
	}
	return remote.Delete(ref, i.fetcher.options...)
}

func (i *registryImage) Save(more ...string) error { return i.SaveAs(i.name, more...) }

func (i *registryImage) SaveAs(to string, more ...string) error {
	if err := i.SetCreatedAtAndHistory(); err != nil {
		return err
	}
	for _, reference := range append([]string{to}, more...) {
		ref, err := name.ParseReference(reference)
		if err != nil {
			return err
		}
		if err := remote.Write(ref, i.CNBImageCore, i.fetcher.options...); err != nil {
			return fmt.Errorf("save image %s: %w", ref, err)
		}
		digest, err := i.Digest()
		if err != nil {
			return err
		}
		i.fetcher.saved = ref.Context().Digest(digest.String())
	}
	return nil
}

// SaveFile is for engines that load archives.
func (i *registryImage) SaveFile() (string, error) {
	return "", fmt.Errorf("image %s lives in a registry and is not saved as a file", i.name)
}
