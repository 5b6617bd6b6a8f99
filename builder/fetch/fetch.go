package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/knit-dev/knit/functions/api/archive"
)

// sourceError is a reference that names no archive by digest.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// registryError is a registry that did not give what it was asked for.
type registryError struct{ err error }

func (e *registryError) Error() string { return e.err.Error() }
func (e *registryError) Unwrap() error { return e.err }

// fetch streams the archive from the registry into dir and returns its size.
// The digest is checked over every byte: fetch succeeds only when the archive
// is the one that was asked for.
func fetch(ctx context.Context, from remoteSource, source, dir string, limits archive.Limits) (int64, error) {
	reference, err := name.NewDigest(source, name.StrictValidation)
	if err != nil {
		return 0, &sourceError{fmt.Errorf("the source %q is not host:port/repository@sha256:…: %w", source, err)}
	}
	body, err := from.open(ctx, reference)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	counted := &pullReader{from: body, source: source}
	if err := archive.Unpack(counted, dir, limits); err != nil {
		// A transfer that broke looks like a broken archive from within.
		if counted.err != nil {
			return 0, counted.err
		}
		return 0, fmt.Errorf("unpack source %s into %s: %w", reference.DigestStr(), dir, err)
	}
	if err := counted.finish(); err != nil {
		return 0, err
	}
	return counted.size, nil
}

// remoteSource pulls blobs.
type remoteSource struct {
	keychain  authn.Keychain
	transport http.RoundTripper
}

func (s remoteSource) open(ctx context.Context, reference name.Digest) (io.ReadCloser, error) {
	layer, err := remote.Layer(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(s.keychain), remote.WithTransport(s.transport))
	if err != nil {
		return nil, pullError(reference, err)
	}
	// The reader compares digest and length at the end of the stream.
	body, err := layer.Compressed()
	if err != nil {
		return nil, pullError(reference, err)
	}
	return body, nil
}

func pullError(reference name.Digest, err error) error {
	step := "check that the registry runs and that this pod may reach it"
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusNotFound:
			step = "push the source again with knit deploy"
		case http.StatusUnauthorized, http.StatusForbidden:
			step = "check the Secret registry-credentials in the namespace of builds"
		}
	}
	return &registryError{fmt.Errorf("pull source %s from %s (%s): %w", reference.DigestStr(), reference.Context(), step, err)}
}

// pullReader counts, and keeps apart what went wrong on the way here.
type pullReader struct {
	from   io.Reader
	source string
	size   int64
	err    error
}

func (p *pullReader) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = &registryError{fmt.Errorf("pull source %s (the registry sent something else or broke off after %d bytes; build again): %w", p.source, p.size, err)}
		return n, p.err
	}
	return n, err
}

// finish reads to the end, where the digest is compared.
func (p *pullReader) finish() error {
	if n, err := io.Copy(io.Discard, p); err != nil {
		return err
	} else if n > 0 {
		return &registryError{fmt.Errorf("pull source %s: %d bytes follow the archive", p.source, n)}
	}
	return nil
}
