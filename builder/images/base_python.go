package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/runtime/lang/python"
)

// PythonVersion is the Python of the run base and of the build image: Debian 12's.
const PythonVersion = "3.11"

// pythonPackages are Python, the C libraries that it and the wheels of PyPI
// link with (https://peps.python.org/pep-0513/ names them), and h11 and wsproto
// for the runtime. There is no shell among them, and no package manager.
var pythonPackages = []string{
	"python" + PythonVersion + "-minimal", "libpython" + PythonVersion + "-minimal", "libpython" + PythonVersion + "-stdlib",
	"libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libcrypt1",
	"libffi8", "libsqlite3-0", "libbz2-1.0", "liblzma5", "libuuid1", "python3-h11", "python3-wsproto",
}

// PythonRun is the run image of Python functions: Static, Python with its
// standard library compiled, and the packages that the runtime imports.
func PythonRun(ctx context.Context, c *Cache) (v1.Image, error) {
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	layer, err := pythonLayer(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("make Python run image: %w", err)
	}
	img, err := buildpacksBase(base, "knit-python", NonRoot, layer)
	if err != nil {
		return nil, fmt.Errorf("make Python run image: %w", err)
	}
	return withEnv(img, pythonEnv...)
}

// pythonEnv: text is UTF-8, and nothing tries to write beside read-only sources.
var pythonEnv = []string{"LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}

func withEnv(img v1.Image, env ...string) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	config.Env = append(config.Env, env...)
	return assemble(img, config)
}

// pythonLayer holds Python as the run base and the build image have it.
func pythonLayer(ctx context.Context, c *Cache) (v1.Layer, error) {
	debs, err := fetchDebs(ctx, c, pythonPackages...)
	if err != nil {
		return nil, err
	}
	key := []string{"python/2", python.BaseLibrary}
	for _, d := range debs {
		key = append(key, d.key())
	}
	return c.layer(ctx, strings.Join(key, " "), gzipped, func(w *layerWriter) error {
		root, err := c.tempDir("python-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(root) }()
		if err := unpackPython(root, debs); err != nil {
			return err
		}
		if err := compilePython(ctx, root, pythonLibrary, python.BaseLibrary); err != nil {
			return err
		}
		return addRoot(w, root)
	})
}

const pythonLibrary = "/usr/lib/python" + PythonVersion

// unpackPython writes what functions need of the packages below root.
func unpackPython(root string, debs []deb) error {
	for _, d := range debs {
		err := readDeb(d.Path, func(hdr *tar.Header, r io.Reader) error {
			name := path.Clean("/" + hdr.Name)
			if rest, ok := strings.CutPrefix(name, "/usr/lib/python3/dist-packages/"); ok {
				name = path.Join(python.BaseLibrary, rest)
			}
			if hdr.Typeflag == tar.TypeDir || !functionsNeed(name) {
				return nil
			}
			return unpackEntry(root, name, hdr, r)
		})
		if err != nil {
			return fmt.Errorf("unpack %s: %w", d.Name, err)
		}
	}
	return os.Symlink("python"+PythonVersion, filepath.Join(root, "usr/bin/python3"))
}

// Parts of the standard library that need a screen, a terminal, a compiler or
// a database that is not there, or that only serve development; and hooks of Debian's.
var (
	pythonUnneeded = []string{
		"__pycache__", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter", "turtledemo",
		"pydoc.py", "turtle.py", "sitecustomize.py", "EXTERNALLY-MANAGED",
	}
	pythonUnneededModules = []string{"_crypt_test", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_test", "_tkinter", "_xx", "nis", "ossaudiodev", "readline", "xx"}
)

// functionsNeed chooses the files of the packages by absolute path.
func functionsNeed(name string) bool {
	dir, file := path.Split(name)
	switch {
	case name == "/usr/bin/python"+PythonVersion:
		return true
	case strings.HasPrefix(name, pythonLibrary+"/lib-dynload/"):
		return !slices.ContainsFunc(pythonUnneededModules, func(prefix string) bool { return strings.HasPrefix(file, prefix) })
	case strings.HasPrefix(name, pythonLibrary+"/"), strings.HasPrefix(name, python.BaseLibrary+"/h11/"), strings.HasPrefix(name, python.BaseLibrary+"/wsproto/"):
		return !slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return slices.Contains(pythonUnneeded, part) }) &&
			!strings.Contains(dir, "/config-")
	case strings.Contains(dir, "/gconv/"), strings.Contains(dir, "/audit/"), strings.HasPrefix(dir, "/usr/lib/locale/"):
		return false
	case strings.HasPrefix(dir, "/lib"), strings.HasPrefix(dir, "/usr/lib/") && strings.Contains(dir, "-linux-gnu"):
		return strings.Contains(file, ".so")
	case strings.HasPrefix(dir, "/usr/share/doc/"):
		return file == "copyright"
	}
	return false
}

func unpackEntry(root, name string, hdr *tar.Header, content io.Reader) error {
	to := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(hdr.Linkname, to)
	case tar.TypeReg:
	default:
		return fmt.Errorf("%s has the unexpected type %q", name, hdr.Typeflag)
	}
	mode := fs.FileMode(0o644)
	if hdr.Mode&0o111 != 0 {
		mode = 0o755
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// addRoot copies a root folder into the layer, owned by root: files, links and
// the folders that they need.
func addRoot(w *layerWriter, root string) error {
	return filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if entry.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return w.symlink(name, target)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return w.diskFile(name, int64(info.Mode().Perm()), file)
	})
}
