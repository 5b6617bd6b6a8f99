package buildpacks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	docker "github.com/docker/docker/client"
)

// ErrNoEngine says that builds on this machine are not possible.
var ErrNoEngine = errors.New("no Docker or Podman engine answers on this machine")

// engineTimeout is how long an engine may take to say that it is there.
const engineTimeout = 3 * time.Second

// Engine is a Docker or Podman engine of this machine.
type Engine struct {
	Host    string // unix:///path/of/socket
	Version string
}

// FindEngine returns the first engine that answers; hosts are addresses as in
// DOCKER_HOST. The engine must run on this machine: builds share its network
// with a registry on loopback.
func FindEngine(ctx context.Context, hosts ...string) (Engine, error) {
	found := ErrNoEngine
	for _, host := range hosts {
		engine, err := askEngine(ctx, host)
		if err == nil {
			return engine, nil
		}
		found = fmt.Errorf("%w; %s: %w", found, host, err)
	}
	return Engine{}, found
}

func askEngine(ctx context.Context, host string) (Engine, error) {
	if !strings.HasPrefix(host, "unix://") {
		return Engine{}, errors.New("it is not a unix:// socket of this machine")
	}
	engine := Engine{Host: host}
	client, err := engine.client()
	if err != nil {
		return Engine{}, err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	version, err := client.ServerVersion(ctx)
	if err != nil {
		return Engine{}, err
	}
	engine.Version = version.Version
	return engine, nil
}

// client speaks the newest version of the API that both sides know.
func (e Engine) client() (*docker.Client, error) {
	return docker.NewClientWithOpts(docker.WithHost(e.Host), docker.WithAPIVersionNegotiation())
}
