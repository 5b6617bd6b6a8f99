package images

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Where the build image holds Go and what Go builds need offline. The Go
// buildpack reads the same paths.
const (
	goRootPath    = "/usr/local/go"
	goModulesPath = "/opt/knit/go/modules"
	goCachePath   = "/opt/knit/go/cache"
)

// applets are the commands of busybox that get a link: enough to look around
// in a build that failed.
var applets = []string{
	"awk", "basename", "cat", "chmod", "cp", "cut", "date", "df", "dirname", "du", "env", "false", "find", "grep",
	"gunzip", "gzip", "head", "id", "ln", "ls", "mkdir", "mktemp", "mv", "ps", "pwd", "readlink", "rm", "rmdir", "sed",
	"sh", "sleep", "sort", "stat", "tail", "tar", "tee", "test", "touch", "tr", "true", "uname", "uniq", "vi", "wc", "which", "xargs",
}

// Build is the image in which functions are built: Static, busybox, this
// machine's Go without its tests and documentation, the standard library
// compiled the way the Go buildpack compiles, and the modules of the
// CloudEvents SDK, so that a Go function builds in seconds and offline; Node
// with npm; Python with pip. progress, when not nil, is told what takes long.
func Build(ctx context.Context, c *Cache, progress func(line string)) (v1.Image, error) {
	if progress == nil {
		progress = func(string) {}
	}
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	toolchain, err := findToolchain(ctx)
	if err != nil {
		return nil, fmt.Errorf("make build image: %w", err)
	}
	layers, err := makeLayers(ctx, []layerPart{
		{"tools", func(ctx context.Context) ([]v1.Layer, error) { return one(toolsLayer(ctx, c)) }},
		{"Go toolchain", func(ctx context.Context) ([]v1.Layer, error) { return one(toolchain.layer(ctx, c)) }},
		{"compiled standard library", func(ctx context.Context) ([]v1.Layer, error) { return one(toolchain.warmLayer(ctx, c, progress)) }},
		{"Node", func(ctx context.Context) ([]v1.Layer, error) { return nodeBuildLayers(ctx, c) }},
		{"Python", func(ctx context.Context) ([]v1.Layer, error) { return pythonBuildLayers(ctx, c) }},
	})
	if err != nil {
		return nil, fmt.Errorf("make build image: %w", err)
	}
	img, err := buildpacksBase(base, "knit-build", BuildUser, layers...)
	if err != nil {
		return nil, fmt.Errorf("make build image: %w", err)
	}
	return withPath(img, goRootPath+"/bin")
}

// layerPart makes some layers of an image.
type layerPart struct {
	what string
	make func(context.Context) ([]v1.Layer, error)
}

// makeLayers makes the parts at the same time and returns their layers in order.
func makeLayers(ctx context.Context, parts []layerPart) ([]v1.Layer, error) {
	made := make([][]v1.Layer, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, part := range parts {
		group.Go(func() (err error) {
			if made[i], err = part.make(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.what, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(made...), nil
}

func one(layer v1.Layer, err error) ([]v1.Layer, error) { return []v1.Layer{layer}, err }

// withPath puts a folder in front of the image's PATH.
func withPath(img v1.Image, folder string) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	for i, entry := range config.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			config.Env[i] = "PATH=" + folder + ":" + path
		}
	}
	return assemble(img, config)
}

// toolsLayer holds busybox and the build user.
func toolsLayer(ctx context.Context, c *Cache) (v1.Layer, error) {
	debs, err := fetchDebs(ctx, c, "busybox-static")
	if err != nil {
		return nil, err
	}
	key := strings.Join(append([]string{"build tools/1", debs[0].key(), BuildUser}, applets...), " ")
	return c.layer(ctx, key, gzipped, func(w *layerWriter) error {
		user := fmt.Sprintf("cnb:x:%s:%s:build user:/home/cnb:/bin/sh\n", BuildUser, BuildUser)
		if err := w.file("etc/passwd", 0o644, passwd+user); err != nil {
			return err
		}
		if err := w.file("etc/group", 0o644, group+fmt.Sprintf("cnb:x:%s:\n", BuildUser)); err != nil {
			return err
		}
		if err := w.add(tar.Header{Typeflag: tar.TypeDir, Name: "home/cnb", Mode: 0o755, Uid: 1000, Gid: 1000}, nil); err != nil {
			return err
		}
		if err := writeBusybox(w, debs[0].Path); err != nil {
			return err
		}
		for _, applet := range applets {
			if err := w.symlink("bin/"+applet, "busybox"); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeBusybox(w *layerWriter, deb string) error {
	found := false
	err := readDeb(deb, func(hdr *tar.Header, r io.Reader) error {
		name := strings.TrimPrefix(strings.TrimPrefix(hdr.Name, "."), "/usr")
		if name != "/bin/busybox" || hdr.Typeflag != tar.TypeReg {
			return nil
		}
		found = true
		return w.add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: hdr.Size}, r)
	})
	if err == nil && !found {
		return fmt.Errorf("no /bin/busybox in %s", deb)
	}
	return err
}
