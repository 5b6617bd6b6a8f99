package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

// local are the flags by which `knit build` builds on this machine and not in
// the cluster.
type local struct {
	wanted, publish bool
	builder         string
	registry        registryFlags
}

func (l *local) add(flags *pflag.FlagSet) {
	flags.BoolVar(&l.wanted, "local", false, "build with the Docker or Podman engine of this machine ($DOCKER_HOST)")
	flags.BoolVar(&l.publish, "publish", false, "with --local: send the images to the registry, not into the engine")
	flags.StringVar(&l.builder, "builder", os.Getenv("KNIT_BUILDER"), "with --local: builder image (or $KNIT_BUILDER); the one created last in the registry when empty")
	l.registry.add(flags)
}

// buildHere builds every function with the engine and prints the images.
func (b *building) buildHere(ctx context.Context, functions []*v1alpha1.Function) error {
	registry, err := b.local.registry.open()
	if err != nil {
		return err
	}
	engine, err := buildpacks.FindEngine(ctx, engineHosts()...)
	if errors.Is(err, buildpacks.ErrNoEngine) {
		return cmdline.Advise(err, "start an engine or set DOCKER_HOST, or leave out --local to build in the cluster")
	}
	if err != nil {
		return err
	}
	for i, fn := range functions {
		options, err := b.local.options(fn, b.sources[i], registry, engine)
		if err != nil {
			return err
		}
		options.Log = b.env.Err
		b.progress.Doing("building %s with the engine at %s", fn.Name, engine.Host)
		b.progress.Clear()
		built, err := buildpacks.Build(ctx, options)
		if err != nil {
			return fmt.Errorf("%s: %w", fn.Name, err)
		}
		b.progress.Done("Built", "%s: %s", fn.Name, built.Digest)
		if _, err := fmt.Fprintln(b.env.Out, built.Image); err != nil {
			return err
		}
	}
	return nil
}

// options say to the engine what a Build says to the cluster.
func (l *local) options(fn *v1alpha1.Function, source *project.Source, registry images.Registry, engine buildpacks.Engine) (buildpacks.BuildOptions, error) {
	if source == nil {
		return buildpacks.BuildOptions{}, cmdline.Usagef("%s: its source is a git repository, which only the cluster builds; leave out --local, or give its folder in source.path", fn.Name)
	}
	env := map[string]string{}
	for _, e := range fn.Spec.Build.Env {
		env[e.Name] = e.Value
	}
	if fn.Spec.Language != "" {
		env["KNIT_LANGUAGE"] = string(fn.Spec.Language)
	}
	if archive := fn.Spec.Source.Archive; archive != nil {
		path, err := (v1alpha1.BuildSource{Archive: *archive}).FunctionPath()
		if err != nil {
			return buildpacks.BuildOptions{}, fmt.Errorf("%s: %w", fn.Name, err)
		}
		if path != "." {
			env["KNIT_FUNCTION_PATH"] = path
		}
	}
	image := "knit.local/" + fn.Namespace + "/" + fn.Name
	if l.publish {
		image = fn.Namespace + "/" + fn.Name
	}
	return buildpacks.BuildOptions{
		Engine: engine, Source: source.Open(), Builder: cmp.Or(fn.Spec.Build.Builder, l.builder), Registry: registry, CAFile: l.registry.ca,
		Image: image, Publish: l.publish, Env: env,
	}, nil
}

// engineHosts are the places where an engine listens: the one that the
// environment names, else Docker's, Podman's of this user and of root.
func engineHosts() []string {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return []string{host}
	}
	run := cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), "/run")
	return []string{
		"unix:///var/run/docker.sock",
		"unix://" + filepath.Join(run, "podman", "podman.sock"),
		"unix:///run/podman/podman.sock",
	}
}
