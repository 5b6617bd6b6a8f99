package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/gateway"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/knative"
	"github.com/knit-dev/knit/deploy/cluster/pki"
)

// pausePackage is the program of the sandbox image, which containerd imports.
const pausePackage = "github.com/knit-dev/knit/deploy/cluster/pause"

// imageSet is the images that a cluster starts with.
type imageSet struct {
	knative map[string]v1.Image // by repository
	paths   map[string]string   // import path → repository
	refs    map[string]string   // import path → digest reference, once pushed
	pause   v1.Image            // the sandbox image
}

func (cr *creation) buildImages(ctx context.Context, note func(string, ...any)) error {
	cache, err := images.OpenCache(cr.CacheDir)
	if err != nil {
		return err
	}
	var commands []images.Command
	if cr.Knative {
		commands = knative.Commands(cr.moduleDir)
	}
	pause := images.Command{Name: "knit/pause", Package: pausePackage, Dir: cr.moduleDir}
	built, err := images.Commands(ctx, cache, func(line string) { note("%s", line) }, append(commands, pause))
	if err != nil {
		return err
	}
	set := &imageSet{knative: built, paths: map[string]string{}}
	for _, c := range commands {
		set.paths[c.Package] = c.Name
	}
	set.pause = built[pause.Name]
	delete(built, pause.Name)
	cr.images = set
	return nil
}

// writeLayout keeps an image as an OCI layout with nothing else in it.
func writeLayout(dir string, img v1.Image) error {
	tmp := dir + ".new"
	err := os.RemoveAll(tmp)
	var path layout.Path
	if err == nil {
		path, err = layout.Write(tmp, empty.Index)
	}
	if err == nil {
		err = path.AppendImage(img)
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return fmt.Errorf("keep image in %s: %w", dir, err)
	}
	return nil
}

func (cr *creation) pushImages(ctx context.Context, note func(string, ...any)) error {
	r, err := openRegistry(cr.Instance)
	if err != nil {
		return err
	}
	pushed, err := r.PushAll(ctx, cr.images.knative, nil)
	if err != nil {
		return err
	}
	cr.images.refs = references(cr.images.paths, pushed)
	return nil
}

func references(paths map[string]string, pushed map[string]name.Digest) map[string]string {
	refs := map[string]string{}
	for path, repository := range paths {
		refs[path] = pushed[repository].String()
	}
	return refs
}

// openRegistry describes the instance's registry to a client on this machine.
func openRegistry(i instance.Instance) (images.Registry, error) {
	certs, err := pki.OpenCluster(i)
	if err != nil {
		return images.Registry{}, err
	}
	return images.Registry{
		Host: i.Registry(), Username: daemon.RegistryUser, Password: certs.RegistryPassword, CA: certs.CA.Pool(),
	}, nil
}

func (cr *creation) installKnative(ctx context.Context, note func(string, ...any)) error {
	stages, err := knative.Manifests(ctx, knative.Options{
		ModuleDir: cr.moduleDir, Images: cr.images.refs, Domain: instance.Domain,
		IngressClass: gateway.ClassName, Registry: cr.Registry(),
	})
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", cr.Kubeconfig())
	if err != nil {
		return err
	}
	return knative.Install(ctx, config, stages, note)
}

// newImages builds Go programs into images of the cluster's registry: the way
// Knit's own images get there.
func newImages(o *options) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "images NAME=PACKAGE...",
		Short: "Build Go main packages and push them to the cluster's registry; prints name → digest reference as JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			commands, err := parseCommands(dir, args)
			if err != nil {
				return err
			}
			refs, err := buildAndPush(c.Context(), i, commands)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(refs)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "module folder in which the packages are built")
	return c
}
