package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

const knitModule = "github.com/knit-dev/knit"

// commands are Knit's own programs that run in the cluster.
func commands(dir string) []images.Command {
	return []images.Command{
		{Name: controlplaneImage, Package: knitModule + "/deploy/controlplane", Dir: dir},
		{Name: natsImage, Package: "github.com/nats-io/nats-server/v2", Dir: dir},
		{Name: fetchImage, Package: knitModule + "/builder/fetch", Dir: dir},
	}
}

// buildImages builds Knit's own images from its repository, pushes them and
// returns their references by digest. Unchanged input is not built again.
func buildImages(ctx context.Context, dir, cacheDir string, p platform, progress *cmdline.Progress) (map[string]string, error) {
	dir, err := repository(dir)
	if err != nil {
		return nil, err
	}
	registry, err := p.imageRegistry()
	if err != nil {
		return nil, err
	}
	cache, err := images.OpenCache(cacheDir)
	if err != nil {
		return nil, cmdline.Advise(err, "name a folder that you may write with --build-cache")
	}
	progress.Doing("compiling %s", controlplaneImage)
	built, err := images.Commands(ctx, cache, func(name string) { progress.Doing("built %s", name) }, commands(dir))
	if err != nil {
		return nil, fmt.Errorf("build Knit's images from %s: %w", dir, err)
	}
	progress.Done("Built", "%d images", len(built))
	refs := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(built)) {
		progress.Doing("pushing %s", name)
		ref, err := registry.Push(ctx, name, built[name])
		if err != nil {
			return nil, fmt.Errorf("push %s to %s: %w", name, p.Registry, err)
		}
		refs[name] = ref.String()
	}
	progress.Done("Pushed", "to %s", p.Registry)
	builder, err := buildpacks.Create(ctx, buildpacks.Options{
		Module: dir, Cache: cache, Registry: registry,
		Progress: func(step string) { progress.Doing("builder: %s", step) },
	})
	if err != nil {
		return nil, err
	}
	refs[builderImage] = builder.String()
	progress.Done("Builder", "%s", builder)
	return refs, nil
}

// repository checks that a folder is Knit's repository.
func repository(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(abs, "deploy", "controlplane")); err != nil {
		return "", cmdline.Usagef("--from %s is not Knit's repository: it has no folder deploy/controlplane", dir)
	}
	return abs, nil
}

// imageRegistry is where the images of this platform go.
func (p platform) imageRegistry() (images.Registry, error) {
	user, password, err := p.login()
	if err != nil {
		return images.Registry{}, err
	}
	registry := images.Registry{Host: p.Registry, Prefix: p.Prefix, Username: user, Password: password}
	if p.CA == "" {
		return registry, nil
	}
	registry.CA = x509.NewCertPool()
	if !registry.CA.AppendCertsFromPEM([]byte(p.CA)) {
		return images.Registry{}, fmt.Errorf("the certificate authorities of registry %s hold no PEM certificate", p.Registry)
	}
	return registry, nil
}
