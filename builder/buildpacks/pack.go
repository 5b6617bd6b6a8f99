package buildpacks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/buildpacks/pack/pkg/cache"
	"github.com/buildpacks/pack/pkg/client"
	"github.com/buildpacks/pack/pkg/image"
	"github.com/buildpacks/pack/pkg/logging"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/api/archive"
)

// processType is what images start; builds in the cluster say the same.
const processType = "web"

// languageVariable tells the buildpacks the language of the function.
const languageVariable = "KNIT_LANGUAGE"

// BuildOptions say what to build on this machine.
type BuildOptions struct {
	Engine Engine
	// Source is the archive that a push would send. Both ways of building start
	// from it, so that modes and ignored files cannot differ.
	Source io.Reader
	// Builder is the reference of a builder in Registry; the one that Create
	// published last when empty.
	Builder string
	// Registry holds the builder and its run images; with Publish the image
	// goes there, too.
	Registry images.Registry
	// CAFile is the PEM file behind Registry.CA; empty for the system's.
	CAFile string
	// Image is the name of the result: in the engine, or with Publish a
	// repository below the registry's prefix.
	Image string
	// Publish sends the image to the registry and not into the engine.
	Publish bool
	// Env is given to the buildpacks.
	Env map[string]string
	// Log gets what pack and the buildpacks print.
	Log io.Writer
}

// BuildResult is a built image.
type BuildResult struct {
	Image  string // the name under which the engine or the registry has it
	Digest string // of the manifest, sha256:…; a build in the cluster gives the same
}

// Build builds the source with pack's library in the engine. The result is
// published in any case, without Publish to a registry that lives as long as
// the build: an engine knows no manifests, so only a registry gives the image
// the digest that it has in the cluster.
func Build(ctx context.Context, o BuildOptions) (result BuildResult, err error) {
	scratch, err := os.MkdirTemp("", "knit-build-")
	if err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if o.Builder, err = builderReference(o.Registry, o.Builder); err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	source := filepath.Join(scratch, "source")
	if err := unpackSource(o.Source, source); err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	goal, err := o.goal(scratch)
	if err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	defer goal.close()
	engine, err := o.Engine.client()
	if err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	defer func() { _ = engine.Close() }()
	fetch := &engineFetcher{fetcher: newFetcher(ctx, o.Registry), engine: engine, caFile: o.CAFile}
	defer fetch.close()
	options := o.pack(source, goal.image.Name())
	apart, lifecycle, err := fetch.lifecycle(ctx, o.Builder, o.Env[languageVariable])
	if err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	options.TrustBuilder, options.LifecycleImage = func(string) bool { return !apart }, lifecycle
	pack, err := client.NewClient(client.WithDockerClient(engine), client.WithFetcher(fetch),
		client.WithKeychain(login(o.Registry)), client.WithLogger(logging.NewSimpleLogger(o.Log)))
	if err != nil {
		return BuildResult{}, fmt.Errorf("build on this machine: %w", err)
	}
	if err := pack.Build(ctx, options); err != nil {
		return BuildResult{}, fmt.Errorf("build with the engine %s at %s: %w", o.Engine.Version, o.Engine.Host, err)
	}
	return o.deliver(ctx, fetch, goal)
}

// pack are the options of pack's library.
func (o BuildOptions) pack(source, reference string) client.BuildOptions {
	options := client.BuildOptions{
		Image: reference, Builder: o.Builder, AppPath: source, Env: o.Env, Publish: true, DefaultProcessType: processType,
		// The fetcher decides what is loaded; images by digest never twice.
		PullPolicy:      image.PullAlways,
		ContainerConfig: client.ContainerConfig{Network: "host"},
		UserID:          -1, GroupID: -1,
	}
	// Named by the result: pack's own names hold the target, whose port is
	// another one every time.
	volume := fmt.Sprintf("knit-cache-%x", sha256.Sum256([]byte(o.Image)))[:32]
	options.Cache = cache.CacheOpts{
		Build:  cache.CacheInfo{Format: cache.CacheVolume, Source: volume + ".build"},
		Launch: cache.CacheInfo{Format: cache.CacheVolume, Source: volume + ".launch"},
		Kaniko: cache.CacheInfo{Format: cache.CacheVolume, Source: volume + ".kaniko"},
	}
	return options
}

// deliver reads the image's digest and loads the image into the engine, unless
// it is where it shall be.
func (o BuildOptions) deliver(ctx context.Context, fetch *engineFetcher, goal goal) (BuildResult, error) {
	options, done := goal.registry.Remote(ctx)
	defer done()
	built, err := remote.Image(goal.image, options...)
	if err != nil {
		return BuildResult{}, fmt.Errorf("read the built image %s: %w", goal.image, err)
	}
	digest, err := built.Digest()
	if err != nil {
		return BuildResult{}, fmt.Errorf("read the built image %s: %w", goal.image, err)
	}
	if o.Publish {
		return BuildResult{Image: goal.image.Context().Digest(digest.String()).Name(), Digest: digest.String()}, nil
	}
	tag, err := name.NewTag(o.Image)
	if err != nil {
		return BuildResult{}, fmt.Errorf("the image's name: %w", err)
	}
	if err := fetch.load(ctx, tag, built); err != nil {
		return BuildResult{}, err
	}
	return BuildResult{Image: o.Image, Digest: digest.String()}, nil
}

// unpackSource writes the archive as the build pod does, whatever this
// process's umask is: modes are part of the image.
func unpackSource(from io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := archive.Unpack(from, dir, archive.DefaultLimits()); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() == fs.ModeSymlink {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
}

// login is the registry's, as the keychain that pack hands to the lifecycle.
func login(registry images.Registry) authn.Keychain { return keychain{registry} }

type keychain struct{ registry images.Registry }

func (k keychain) Resolve(resource authn.Resource) (authn.Authenticator, error) {
	if resource.RegistryStr() != k.registry.Host || k.registry.Username == "" {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: k.registry.Username, Password: k.registry.Password}, nil
}
