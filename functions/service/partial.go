package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// partialType is an upload that has not ended: its layers are the parts that came
// so far, in their order. It lives in the registry, so any replica goes on with it,
// and nothing is asked of the registry but what every one has.
const (
	partialType                 = "application/vnd.knit.source.partial.v1"
	partType    types.MediaType = "application/vnd.knit.source.part.v1"
	// totalAnnotation is the size of the whole archive in bytes.
	totalAnnotation = "dev.knit.source.total"
	// partialPrefix stands before the tag that the whole would have.
	partialPrefix = "partial-"
)

// partial is an upload that has not ended.
type partial struct {
	parts    []v1.Descriptor
	total    int64
	manifest v1.Hash
	updated  time.Time
}

// offset is how many bytes came so far.
func (p partial) offset() int64 {
	var sum int64
	for _, part := range p.parts {
		sum += part.Size
	}
	return sum
}

// findPartial returns an upload that has not ended, or errUnknownSource.
func (s *store) findPartial(ctx context.Context, namespace string, digest v1.Hash) (partial, error) {
	repository, err := s.repository(namespace)
	if err != nil {
		return partial{}, err
	}
	descriptor, err := remote.Get(repository.Tag(partialPrefix+tagOf(digest)), s.options(ctx)...)
	if absent(err) {
		return partial{}, errUnknownSource
	}
	if err != nil {
		return partial{}, fmt.Errorf("look for the upload of source %s in %s: %w", digest, repository, err)
	}
	found, err := readArtifact(descriptor.Manifest)
	if err != nil || found.ArtifactType != partialType {
		return partial{}, errUnknownSource // a new upload replaces it
	}
	total, err := strconv.ParseInt(found.Annotations[totalAnnotation], 10, 64)
	if err != nil {
		return partial{}, errUnknownSource
	}
	return partial{parts: found.Layers, total: total, manifest: descriptor.Digest, updated: found.wanted()}, nil
}

// addPart appends a part of a known digest to an upload.
func (s *store) addPart(ctx context.Context, namespace string, digest v1.Hash, p partial, part v1.Descriptor, content io.Reader, now time.Time) (partial, error) {
	repository, err := s.repository(namespace)
	if err != nil {
		return p, err
	}
	opts := s.options(ctx)
	body := newVerifier(content, part.Digest, part.Size)
	body.named = "Content-Digest"
	if p.offset() > 0 {
		body.head = gzipMagic // only the first part begins as gzip does
	}
	if err := remote.WriteLayer(repository, &layer{digest: part.Digest, size: part.Size, body: body}, opts...); err != nil {
		return p, errors.Join(body.fault(), fmt.Errorf("upload a part of source %s to %s: %w", digest, repository, err))
	}
	if err := remote.WriteLayer(repository, emptyConfig, opts...); err != nil {
		return p, fmt.Errorf("upload the config of source %s to %s: %w", digest, repository, err)
	}
	before := p.manifest
	p.parts, p.updated = append(p.parts, part), now
	manifest, err := p.artifact()
	if err != nil {
		return p, err
	}
	if err := remote.Put(repository.Tag(partialPrefix+tagOf(digest)), manifest, opts...); err != nil {
		return p, fmt.Errorf("note a part of source %s in %s: %w", digest, repository, err)
	}
	if p.manifest, _, err = v1.SHA256(strings.NewReader(string(manifest))); err != nil {
		return p, err
	}
	if before.Hex != "" && before != p.manifest {
		// It has no name any more. Registries that delete nothing keep it.
		_ = remote.Delete(repository.Digest(before.String()), opts...)
	}
	return p, nil
}

// artifact is the manifest of an upload.
func (p partial) artifact() (rawManifest, error) {
	config, err := emptyConfig.Digest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(artifact{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: partialType,
		Config: v1.Descriptor{MediaType: emptyMediaType, Digest: config, Size: 2, Data: []byte("{}")},
		Layers: p.parts,
		Annotations: map[string]string{
			wantedAnnotation: p.updated.UTC().Format(time.RFC3339), totalAnnotation: strconv.FormatInt(p.total, 10),
		},
	})
}

// assemble makes a source of all its parts, and drops them. A whole that is not
// what its digest says is dropped, too: no part of it is right for sure.
func (s *store) assemble(ctx context.Context, namespace string, digest v1.Hash, p partial, now time.Time) error {
	parts := &partReader{ctx: ctx, store: s, namespace: namespace, left: p.parts}
	defer parts.Close()
	err := s.put(ctx, namespace, digest, p.total, parts, now)
	var fault *archiveError
	if err != nil && (!errors.As(err, &fault) || parts.failed != nil) {
		return errors.Join(parts.failed, err)
	}
	return errors.Join(err, s.dropPartial(ctx, namespace, p))
}

func (s *store) dropPartial(ctx context.Context, namespace string, p partial) error {
	repository, err := s.repository(namespace)
	if err != nil {
		return err
	}
	err = remote.Delete(repository.Digest(p.manifest.String()), s.options(ctx)...)
	if err != nil && !absent(err) && !unsupported(err) {
		return fmt.Errorf("drop the parts of a source from %s: %w", repository, err)
	}
	return nil
}

// partReader reads parts one after the other as the registry has them.
type partReader struct {
	ctx       context.Context
	store     *store
	namespace string
	left      []v1.Descriptor
	current   io.ReadCloser
	failed    error // what the registry did not give
}

func (r *partReader) Read(p []byte) (int, error) {
	for {
		if r.current == nil {
			if len(r.left) == 0 {
				return 0, io.EOF
			}
			if r.current, r.failed = r.open(r.left[0]); r.failed != nil {
				return 0, r.failed
			}
			r.left = r.left[1:]
		}
		n, err := r.current.Read(p)
		if errors.Is(err, io.EOF) {
			r.Close()
			err = nil
		}
		r.failed = err
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (r *partReader) open(part v1.Descriptor) (io.ReadCloser, error) {
	repository, err := r.store.repository(r.namespace)
	if err != nil {
		return nil, err
	}
	layer, err := remote.Layer(repository.Digest(part.Digest.String()), r.store.options(r.ctx)...)
	if err != nil {
		return nil, err
	}
	content, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("read a part of a source from %s: %w", repository, err)
	}
	return content, nil
}

func (r *partReader) Close() {
	if r.current != nil {
		_ = r.current.Close()
		r.current = nil
	}
}

// openBytes is the sum of what the uploads of a namespace that have not ended
// will have, those aside that nobody goes on with.
func (s *store) openBytes(ctx context.Context, namespace string, now time.Time) (int64, error) {
	repository, err := s.repository(namespace)
	if err != nil {
		return 0, err
	}
	tags, err := remote.List(repository, s.options(ctx)...)
	if absent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list the uploads in %s: %w", repository, err)
	}
	var sum int64
	for _, tag := range tags {
		digest, ok := digestOfPartial(tag)
		if !ok {
			continue
		}
		p, err := s.findPartial(ctx, namespace, digest)
		if errors.Is(err, errUnknownSource) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if now.Sub(p.updated) < keepPartial {
			sum += p.total
		}
	}
	return sum, nil
}

// digestOfPartial is the source that the tag of an upload stands for.
func digestOfPartial(tag string) (v1.Hash, bool) {
	whole, ok := strings.CutPrefix(tag, partialPrefix)
	if !ok {
		return v1.Hash{}, false
	}
	return digestOfTag(whole)
}
