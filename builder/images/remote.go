package images

import (
	"context"
	"fmt"
	"path"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Repository is the full name of a repository of this registry.
func (r Registry) Repository(repository string) (name.Repository, error) {
	repo, err := name.NewRepository(path.Join(r.Host, r.Prefix, repository))
	if err != nil {
		return name.Repository{}, fmt.Errorf("repository %q: %w", repository, err)
	}
	return repo, nil
}

// Remote is how go-containerregistry talks to this registry: its CA, its
// login, its retries. done closes the connections.
func (r Registry) Remote(ctx context.Context) (options []remote.Option, done func()) {
	t := r.transport()
	return r.options(ctx, t), t.CloseIdleConnections
}
