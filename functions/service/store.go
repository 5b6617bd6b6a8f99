package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/knit-dev/knit/functions/api/archive"
)

const layerMediaType types.MediaType = archive.MediaType

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

// found is a stored archive.
type found struct {
	size     int64
	manifest v1.Hash
	wanted   time.Time // when it was last asked for or pushed; zero when not known
}

// find returns a stored archive, or errUnknownSource.
func (s *store) find(ctx context.Context, namespace string, digest v1.Hash) (found, error) {
	repository, err := s.repository(namespace)
	if err != nil {
		return found{}, err
	}
	descriptor, err := remote.Get(repository.Tag(tagOf(digest)), s.options(ctx)...)
	if absent(err) {
		return found{}, errUnknownSource
	}
	if err != nil {
		return found{}, fmt.Errorf("look for source %s in %s: %w", digest, repository, err)
	}
	manifest, err := readArtifact(descriptor.Manifest)
	if err != nil {
		return found{}, fmt.Errorf("read the manifest of source %s in %s: %w", digest, repository, err)
	}
	if !manifest.holds(digest) {
		// Somebody moved the tag; a new upload repairs it.
		return found{}, errUnknownSource
	}
	return found{size: manifest.Layers[0].Size, manifest: descriptor.Digest, wanted: manifest.wanted()}, nil
}

// put streams an archive of a known size into the registry. The manifest is
// written last: a source is known only when it is whole.
func (s *store) put(ctx context.Context, namespace string, digest v1.Hash, size int64, content io.Reader, now time.Time) error {
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
	if err := remote.WriteLayer(repository, emptyConfig, opts...); err != nil {
		return fmt.Errorf("upload the config of source %s to %s: %w", digest, repository, err)
	}
	return s.putManifest(ctx, repository, digest, size, now)
}

func (s *store) putManifest(ctx context.Context, repository name.Repository, digest v1.Hash, size int64, now time.Time) error {
	manifest, err := makeArtifact(digest, size, now)
	if err != nil {
		return err
	}
	if err := remote.Put(repository.Tag(tagOf(digest)), manifest, s.options(ctx)...); err != nil {
		return fmt.Errorf("write the manifest of source %s to %s: %w", digest, repository, err)
	}
	return nil
}

// touchAfter is how old the note of the last request may become. It is much
// less than keepUnused.
const touchAfter = 15 * time.Minute

// touch notes that somebody asked for a source, who is about to use it.
func (s *store) touch(ctx context.Context, namespace string, digest v1.Hash, f found, now time.Time) error {
	if now.Sub(f.wanted) < touchAfter {
		return nil
	}
	repository, err := s.repository(namespace)
	if err != nil {
		return err
	}
	// The config of an artifact of an earlier version may be another.
	if err := remote.WriteLayer(repository, emptyConfig, s.options(ctx)...); err != nil {
		return fmt.Errorf("upload the config of source %s to %s: %w", digest, repository, err)
	}
	if err := s.putManifest(ctx, repository, digest, f.size, now); err != nil {
		return err
	}
	// The one before has no name any more. Registries that delete nothing keep it.
	_ = remote.Delete(repository.Digest(f.manifest.String()), s.options(ctx)...)
	return nil
}

func absent(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// unsupported reports that the registry deletes nothing.
func unsupported(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusMethodNotAllowed
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
