package images

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// pipPath is where the build image holds pip, as a folder to be run by Python.
// The Python buildpack has the same.
const pipPath = "/opt/knit/python/pip"

// pipPackage is Debian's package with pip as one wheel that needs nothing else.
const pipPackage = "python3-pip-whl"

// pythonBuildLayers are what the build image needs for Python functions:
// Python as in the run base, and pip, compiled.
func pythonBuildLayers(ctx context.Context, c *Cache) ([]v1.Layer, error) {
	run, err := pythonLayer(ctx, c)
	if err != nil {
		return nil, err
	}
	debs, err := fetchDebs(ctx, c, append([]string{pipPackage}, pythonPackages...)...)
	if err != nil {
		return nil, err
	}
	key := []string{"pip/2", pipPath}
	for _, d := range debs {
		key = append(key, d.key())
	}
	pip, err := c.layer(ctx, strings.Join(key, " "), gzipped, func(w *layerWriter) error {
		root, err := c.tempDir("pip-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(root) }()
		// Compiling needs a Python beside it, which is no part of the layer.
		if err := unpackPython(root, debs[1:]); err != nil {
			return err
		}
		if err := unpackPip(filepath.Join(root, pipPath), debs[0]); err != nil {
			return err
		}
		if err := compilePython(ctx, root, pipPath); err != nil {
			return err
		}
		return addTree(w, filepath.Join(root, pipPath), pipPath, func(string, bool) bool { return true })
	})
	if err != nil {
		return nil, err
	}
	return []v1.Layer{run, pip}, nil
}

// unpackPip writes the content of the package's wheel into dir.
func unpackPip(dir string, from deb) error {
	wheel, err := readWheel(from)
	if err != nil {
		return err
	}
	for _, file := range wheel.File {
		if file.FileInfo().IsDir() {
			continue
		}
		if !filepath.IsLocal(file.Name) {
			return fmt.Errorf("%s: the wheel of pip holds the name %q", from.Name, file.Name)
		}
		content, err := file.Open()
		if err != nil {
			return err
		}
		err = writeTo(filepath.Join(dir, filepath.FromSlash(file.Name)), content)
		if err := errors.Join(err, content.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", from.Name, err)
		}
	}
	return nil
}

// readWheel finds pip's wheel, which is a zip archive, in the package.
func readWheel(from deb) (*zip.Reader, error) {
	var content []byte
	err := readDeb(from.Path, func(hdr *tar.Header, r io.Reader) error {
		name := path.Base(hdr.Name)
		if !strings.HasPrefix(name, "pip-") || !strings.HasSuffix(name, ".whl") {
			return nil
		}
		var err error
		content, err = io.ReadAll(io.LimitReader(r, 64<<20))
		return err
	})
	if err != nil {
		return nil, err
	}
	if content == nil {
		return nil, fmt.Errorf("no wheel of pip in the Debian package %s", from.Name)
	}
	return zip.NewReader(bytes.NewReader(content), int64(len(content)))
}

func writeTo(name string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// compilePython writes the .pyc files of the folders below root, by root's own
// Python, which runs on this machine's kernel but with its own libraries. The
// files are valid whatever the times of their sources, and the same every time.
func compilePython(ctx context.Context, root string, folders ...string) error {
	loader, err := findLoader(root)
	if err != nil {
		return err
	}
	args := []string{
		"--library-path", filepath.Dir(loader) + ":" + filepath.Join(root, "usr/lib", filepath.Base(filepath.Dir(loader))),
		filepath.Join(root, "usr/bin/python"+PythonVersion), "-S", "-s", "-P",
		"-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/",
	}
	for _, folder := range folders {
		args = append(args, filepath.Join(root, folder))
	}
	cmd := exec.CommandContext(ctx, loader, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = []string{
		"PYTHONHOME=" + filepath.Join(root, "usr"), "PYTHONHASHSEED=0", "LANG=C.UTF-8",
		// What the compiler itself imports would be written first, with times.
		"PYTHONDONTWRITEBYTECODE=1",
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile Python's modules: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// findLoader returns the dynamic loader of root's C library.
func findLoader(root string) (string, error) {
	for _, pattern := range []string{"lib/*/ld-linux*.so.*", "usr/lib/*/ld-linux*.so.*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("no dynamic loader in the packages for Python: %w", fs.ErrNotExist)
}
