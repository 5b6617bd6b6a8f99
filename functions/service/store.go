package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/knit-dev/knit/functions/api/archive"
)

// The source artifact: an OCI manifest with an empty config and one layer,
// the archive, whose digest is the digest of the source.
const (
	configMediaType types.MediaType = "application/vnd.knit.source.v1+json"
	layerMediaType  types.MediaType = archive.MediaType
)

var errUnknownSource = errors.New("unknown source")

// store keeps source archives in the registry, in one repository for each
// namespace: <registry>/<prefix>/<namespace>/sources.
type store struct {
	registry, prefix string
	keychain         authn.Keychain
	transport        http.RoundTripper
}

func (s *store) repository(namespace string) (name.Repository, error) {
	return name.NewRepository(path.Join(s.registry, s.prefix, namespace, "sources"), name.StrictValidation)
}

func (s *store) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(s.keychain),
		remote.WithTransport(s.transport),
		// An upload is read from the caller once and cannot be sent again;
		// the caller is told and decides.
		remote.WithRetryPredicate(func(error) bool { return false }),
	}
}

func tagOf(digest v1.Hash) string { return digest.Algorithm + "-" + digest.Hex }

// find returns the size of a stored archive, or errUnknownSource.
func (s *store) find(ctx context.Context, namespace string, digest v1.Hash) (int64, error) {
	repository, err := s.repository(namespace)
	if err != nil {
		return 0, err
	}
	descriptor, err := remote.Get(repository.Tag(tagOf(digest)), s.options(ctx)...)
	if absent(err) {
		return 0, errUnknownSource
	}
	if err != nil {
		return 0, fmt.Errorf("look for source %s in %s: %w", digest, repository, err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(descriptor.Manifest))
	if err != nil {
		return 0, fmt.Errorf("read the manifest of source %s in %s: %w", digest, repository, err)
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].Digest != digest {
		// Somebody moved the tag; a new upload repairs it.
		return 0, errUnknownSource
	}
	return manifest.Layers[0].Size, nil
}

// put streams an archive of a known size into the registry. The manifest is
// written last: a source is known only when it is whole.
func (s *store) put(ctx context.Context, namespace string, digest v1.Hash, size int64, content io.Reader) error {
	repository, err := s.repository(namespace)
	if err != nil {
		return err
	}
	opts := s.options(ctx)
	body := newVerifier(content, digest, size)
	if err := remote.WriteLayer(repository, &layer{digest: digest, size: size, body: body}, opts...); err != nil {
		// What the caller did wrong comes before what the registry made of it.
		return errors.Join(body.fault(), fmt.Errorf("upload source %s to %s: %w", digest, repository, err))
	}
	config := static.NewLayer([]byte("{}"), configMediaType)
	if err := remote.WriteLayer(repository, config, opts...); err != nil {
		return fmt.Errorf("upload the config of source %s to %s: %w", digest, repository, err)
	}
	manifest, err := makeManifest(config, digest, size)
	if err != nil {
		return err
	}
	if err := remote.Put(repository.Tag(tagOf(digest)), manifest, opts...); err != nil {
		return fmt.Errorf("write the manifest of source %s to %s: %w", digest, repository, err)
	}
	return nil
}

func absent(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// rawManifest is what remote.Put needs of an image.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error)        { return m, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func makeManifest(config v1.Layer, digest v1.Hash, size int64) (rawManifest, error) {
	configDigest, err := config.Digest()
	if err != nil {
		return nil, err
	}
	configSize, err := config.Size()
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: configMediaType, Digest: configDigest, Size: configSize},
		Layers:        []v1.Descriptor{{MediaType: layerMediaType, Digest: digest, Size: size}},
	})
}

// layer is an archive on its way through; it can be read once.
type layer struct {
	digest v1.Hash
	size   int64
	body   *verifier
	read   bool
}

func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error) {
	return v1.Hash{}, errors.New("not known of an archive in transit")
}
func (l *layer) Size() (int64, error)                { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return layerMediaType, nil }
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("not kept of an archive in transit")
}

func (l *layer) Compressed() (io.ReadCloser, error) {
	if l.read {
		return nil, errors.New("the archive was already read; send it again")
	}
	l.read = true
	return io.NopCloser(l.body), nil
}
