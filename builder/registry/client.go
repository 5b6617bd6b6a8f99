// Package registry reads what builds need to know of images, and keeps what
// builds leave behind: it knows the base of an image, the users of a builder
// image, the size of a cache, and stores logs. The Build controller calls it.
// It never pulls a layer of an image that it only has to know, and trusts no
// label: what it reads is bounded and checked.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// callTimeout bounds one question to a registry, with its retries.
	callTimeout = 30 * time.Second
	// maxConfig is the largest config of an image, in bytes: builders carry
	// all of their buildpacks' names in labels.
	maxConfig = 4 << 20
)

// ErrNotFound is an image that the registry does not have.
var ErrNotFound = errors.New("not found")

// Client talks to registries with one login and one set of authorities.
type Client struct {
	Keychain  authn.Keychain
	Transport http.RoundTripper
}

func (c Client) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(c.Keychain), remote.WithTransport(c.Transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}),
	}
}

// config reads the config of an image, and its reference by digest.
func (c Client) config(ctx context.Context, reference string) (*v1.ConfigFile, name.Digest, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, name.Digest{}, fmt.Errorf("read image %q: %w", reference, err)
	}
	descriptor, err := remote.Get(ref, c.options(ctx)...)
	if err != nil {
		return nil, name.Digest{}, fmt.Errorf("read image %s: %w", ref, known(err))
	}
	image, err := descriptor.Image()
	if err != nil {
		return nil, name.Digest{}, fmt.Errorf("read image %s: %w", ref, known(err))
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, name.Digest{}, fmt.Errorf("read image %s: %w", ref, known(err))
	}
	if manifest.Config.Size > maxConfig {
		return nil, name.Digest{}, fmt.Errorf("read image %s: its config has %d bytes, more than the limit of %d", ref, manifest.Config.Size, maxConfig)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, name.Digest{}, fmt.Errorf("read image %s: %w", ref, known(err))
	}
	return file, ref.Context().Digest(descriptor.Digest.String()), nil
}

// Size is what an image takes in the registry, compressed. It is ErrNotFound
// when there is none.
func (c Client) Size(ctx context.Context, reference string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref, err := name.ParseReference(reference)
	if err != nil {
		return 0, fmt.Errorf("measure image %q: %w", reference, err)
	}
	image, err := remote.Image(ref, c.options(ctx)...)
	if err != nil {
		return 0, fmt.Errorf("measure image %s: %w", ref, known(err))
	}
	manifest, err := image.Manifest()
	if err != nil {
		return 0, fmt.Errorf("measure image %s: %w", ref, err)
	}
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}

// Clear puts an image without any content in the place of one. Every registry
// can do that; many cannot delete.
func (c Client) Clear(ctx context.Context, reference string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("clear image %q: %w", reference, err)
	}
	if err := remote.Write(ref, empty.Image, c.options(ctx)...); err != nil {
		return fmt.Errorf("clear image %s: %w", ref, known(err))
	}
	return nil
}

// Delete removes what a tag names, and the tag. What is not there, and a
// registry that deletes nothing, are no errors: what stays is the registry's to
// collect.
func (c Client) Delete(ctx context.Context, reference string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("delete %q: %w", reference, err)
	}
	descriptor, err := remote.Head(ref, c.options(ctx)...)
	if err == nil {
		// Some registries delete tags, some only digests, and take the tags along.
		byTag := remote.Delete(ref, c.options(ctx)...)
		byDigest := remote.Delete(ref.Context().Digest(descriptor.Digest.String()), c.options(ctx)...)
		err = errors.Join(unlessRefused(byTag), unlessRefused(byDigest))
	}
	if err = unlessRefused(err); err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	return nil
}

// unlessRefused drops the errors of a registry that has not, or does not delete.
func unlessRefused(err error) error {
	if answered(err, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusForbidden) {
		return nil
	}
	return err
}

// known names the errors that callers branch on.
func known(err error) error {
	if answered(err, http.StatusNotFound) {
		return ErrNotFound
	}
	return err
}

func answered(err error, codes ...int) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, code := range codes {
		if answer.StatusCode == code {
			return true
		}
	}
	return false
}
