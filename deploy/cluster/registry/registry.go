// Package registry is the image registry of the embedded cluster: OCI
// distribution on a folder of this machine, over TLS, for one user.
//
// The cluster daemon makes one Registry for its state folder and serves it on
// the pod bridge; the host, the pods and containerd all push and pull there
// under the same name. The protocol and the storage layout are those of
// github.com/distribution/distribution. This package adds what an embedded
// registry needs: small files replaced atomically, a clear answer when the disk
// is full, limits on stalled transfers, and a garbage collection that runs
// beside pushes.
//
// It never listens by itself, never answers an anonymous request, never keeps a
// layer in memory and starts no exporter of metrics or traces.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"
)

const (
	// DefaultGrace is how long content is kept after anyone last asked for it.
	DefaultGrace = time.Hour

	// drain is how long running transfers may go on after Serve's context ended.
	drain = 10 * time.Second
)

// Options configure a Registry. All fields but InUse and Grace are required.
type Options struct {
	Root     string       // folder of the blobs, manifests and tags; made when missing; one Registry per folder
	Listener net.Listener // accepts plain TCP; owned by the Registry after New
	TLS      *tls.Config  // with the certificate of the name under which the registry is reached
	Username string       // the only user; without a colon
	Password string       // at most 72 bytes; meant to be generated, not chosen
	Log      io.Writer    // structured text; also takes what the library writes through logrus, which is one per process

	// InUse lists the images that must survive Collect although no tag names
	// them, as repository@digest; the digest decides. Untagged manifests are
	// removed only when InUse is given and answers. It must read wishes (the
	// images named by objects), not only what runs.
	InUse func(ctx context.Context) ([]string, error)

	// Grace replaces DefaultGrace when positive. It must be longer than any push
	// waits between asking for a layer and writing its manifest.
	Grace time.Duration
}

// Registry is one registry on one folder.
type Registry struct {
	root     string
	listener net.Listener
	server   *http.Server
	disk     *disk
	log      *slog.Logger
	inUse    func(ctx context.Context) ([]string, error)

	collecting sync.Mutex
}

// New prepares the folder and the handlers; nothing is answered before Serve.
// Content that an earlier process stored there is served again.
func New(ctx context.Context, o Options) (*Registry, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make the registry's folder %s: %w", o.Root, err)
	}
	users, err := writeUsers(o.Root, o.Username, o.Password)
	if err != nil {
		return nil, err
	}
	store, err := openDisk(o.Root, o.Grace)
	if err != nil {
		return nil, err
	}
	log := newLog(o.Log)
	// The library keeps the context for as long as it serves: a cancelled one
	// would cut the transfers that Serve wants to let finish.
	app, err := newApp(context.WithoutCancel(ctx), configuration(store, users, o.Password))
	if err != nil {
		return nil, fmt.Errorf("start the registry in %s: %w", o.Root, err)
	}
	return &Registry{
		root:     o.Root,
		listener: o.Listener,
		server:   newServer(o.TLS, app, store, log),
		disk:     store,
		log:      log,
		inUse:    o.InUse,
	}, nil
}

func (o Options) check() error {
	switch {
	case o.Root == "":
		return errors.New("registry: no folder given (Options.Root)")
	case o.Listener == nil:
		return errors.New("registry: no listener given (Options.Listener)")
	case o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil:
		return errors.New("registry: no certificate given (Options.TLS)")
	case o.Username == "" || o.Password == "":
		return errors.New("registry: no user and password given (Options.Username, Options.Password): anonymous access does not exist")
	case o.Log == nil:
		return errors.New("registry: no place for the log given (Options.Log)")
	}
	return nil
}

// Serve answers until ctx ends, then lets running requests finish for up to ten
// seconds and closes the rest. It returns nil when it ended because of ctx or Close.
func (r *Registry) Serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- r.server.ServeTLS(r.listener, "", "") }()
	select {
	case err := <-done:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve the registry on %s: %w", r.listener.Addr(), err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := r.server.Shutdown(patience); err != nil {
		r.log.Warn("transfers were cut at the end", "after", drain)
		_ = r.server.Close()
	}
	<-done
	return nil
}

// Close ends Serve at once and frees the listener. What was stored stays.
func (r *Registry) Close() {
	_ = r.server.Close()
	_ = r.listener.Close()
}

// newApp turns the panics with which the library refuses a configuration into
// an error.
func newApp(ctx context.Context, config *config) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return handlers.NewApp(ctx, config), nil
}
