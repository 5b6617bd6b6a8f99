package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/knative"
)

// parseCommands reads arguments of the form repository=import/path.
func parseCommands(dir string, args []string) ([]images.Command, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var commands []images.Command
	for _, a := range args {
		repository, path, ok := strings.Cut(a, "=")
		if !ok || repository == "" || path == "" {
			return nil, fmt.Errorf("%q: must be NAME=PACKAGE, such as knit/fetch=github.com/knit-dev/knit/builder/fetch (%w)", a, errUsage)
		}
		commands = append(commands, images.Command{Name: repository, Package: path, Dir: dir})
	}
	return commands, nil
}

// buildAndPush returns the digest reference of each command by its name.
func buildAndPush(ctx context.Context, i instance.Instance, commands []images.Command) (map[string]string, error) {
	cache, err := images.OpenCache(i.CacheDir)
	if err != nil {
		return nil, err
	}
	built, err := images.Commands(ctx, cache, func(line string) { fmt.Fprintln(os.Stderr, line) }, commands)
	if err != nil {
		return nil, err
	}
	r, err := openRegistry(i)
	if err != nil {
		return nil, err
	}
	pushed, err := r.PushAll(ctx, built, nil)
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for repository, digest := range pushed {
		refs[repository] = digest.String()
	}
	return refs, nil
}

// knativeState asks for the readiness of Knative's workloads.
func knativeState(ctx context.Context, i instance.Instance) ([]daemon.Component, error) {
	config, err := clientcmd.BuildConfigFromFlags("", i.Kubeconfig())
	if err != nil {
		return nil, err
	}
	parts, err := knative.Ready(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("ask for Knative's state: %w", err)
	}
	var rows []daemon.Component
	for _, p := range parts {
		c := daemon.Component{Name: p.Namespace + "/" + p.Name, State: daemon.Ready}
		if !p.Ready {
			c.State, c.Error = daemon.Starting, p.Message
		}
		rows = append(rows, c)
	}
	return rows, nil
}
