package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// parallelPushes is how many images go out at once; each sends up to
// parallelBlobs layers at once.
const (
	parallelPushes = 4
	parallelBlobs  = 4
)

// Registry is where images go: host:port, a path before every repository,
// basic auth and the CA that signed its certificate (nil: the system's).
type Registry struct {
	Host, Prefix, Username, Password string
	CA                               *x509.CertPool
}

// Push sends the image and returns its reference by digest. Blobs, manifest
// and tags that are there are not sent again; layers stream from disk;
// failures that pass (5xx, 429, broken connections) are tried four times.
func (r Registry) Push(ctx context.Context, repository string, img v1.Image, tags ...string) (name.Digest, error) {
	t := r.transport()
	defer t.CloseIdleConnections()
	return r.push(ctx, t, repository, img, tags)
}

// PushAll pushes images by repository name, several at a time over shared
// connections. pushed, when not nil, is told each repository that is done.
func (r Registry) PushAll(ctx context.Context, imgs map[string]v1.Image, pushed func(repository string)) (map[string]name.Digest, error) {
	t := r.transport()
	defer t.CloseIdleConnections()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelPushes)
	var mu sync.Mutex
	refs := make(map[string]name.Digest, len(imgs))
	for repository, img := range imgs {
		group.Go(func() error {
			ref, err := r.push(ctx, t, repository, img, nil)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			refs[repository] = ref
			if pushed != nil {
				pushed(repository)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return refs, nil
}

func (r Registry) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: r.CA, MinVersion: tls.VersionTLS12}
	t.MaxIdleConnsPerHost = parallelPushes * parallelBlobs
	// A registry that is named by address is on this machine or network; no
	// proxy can know of it.
	if host, _, err := net.SplitHostPort(r.Host); err == nil && net.ParseIP(host) != nil {
		t.Proxy = nil
	}
	return t
}

func (r Registry) push(ctx context.Context, t *http.Transport, repository string, img v1.Image, tags []string) (name.Digest, error) {
	repo, err := name.NewRepository(path.Join(r.Host, r.Prefix, repository))
	if err != nil {
		return name.Digest{}, fmt.Errorf("push image %q: %w", repository, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return name.Digest{}, fmt.Errorf("push image %q: %w", repository, err)
	}
	ref := repo.Digest(digest.String())
	opts := r.options(ctx, t)
	if !exists(ref, digest, opts) {
		if err := remote.Write(ref, img, opts...); err != nil {
			return name.Digest{}, fmt.Errorf("push image %s: %w%s", ref, err, pushAdvice(err))
		}
	}
	for _, tag := range tags {
		ref := repo.Tag(tag)
		if exists(ref, digest, opts) {
			continue
		}
		if err := remote.Tag(ref, img, opts...); err != nil {
			return name.Digest{}, fmt.Errorf("tag image %s: %w%s", ref, err, pushAdvice(err))
		}
	}
	return ref, nil
}

// exists reports whether the reference names the digest. Whatever goes wrong
// here goes wrong again, and is reported, in the write that follows.
func exists(ref name.Reference, digest v1.Hash, opts []remote.Option) bool {
	d, err := remote.Head(ref, opts...)
	return err == nil && d.Digest == digest
}

func (r Registry) options(ctx context.Context, t *http.Transport) []remote.Option {
	auth := authn.Anonymous
	if r.Username != "" {
		auth = &authn.Basic{Username: r.Username, Password: r.Password}
	}
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(t), remote.WithAuth(auth), remote.WithJobs(parallelBlobs),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 4}),
		remote.WithRetryStatusCodes(
			http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout),
	}
}

// pushAdvice says what to do about errors that a person can mend.
func pushAdvice(err error) string {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return "; give the registry's CA certificate"
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return "; is the registry running?"
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "; check the registry's user name and password"
	case http.StatusBadRequest:
		return "; if it names a wrong digest, a cached layer is damaged: delete the image cache"
	}
	return ""
}
