package python_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/runtime/lang/python"
)

// The tests of the process run the real Python of the run base, in a root
// folder that holds what an image holds: the base, and the runtime in /runtime.
var base struct {
	once sync.Once
	root string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if base.root != "" {
		if err := os.RemoveAll(base.root); err != nil {
			fmt.Fprintln(os.Stderr, "remove the unpacked image:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// imageRoot unpacks the run base once.
func imageRoot(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("functions run in a root folder of their own: needs root")
	}
	base.once.Do(func() { base.root, base.err = unpackBase(t) })
	if base.err != nil {
		t.Fatal(base.err)
	}
	return base.root
}

func unpackBase(t *testing.T) (string, error) {
	root, err := os.MkdirTemp("", "knit-python-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return root, err
	}
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		return root, err
	}
	img, err := images.PythonRun(t.Context(), cache)
	if err != nil {
		return root, err
	}
	flat := mutate.Extract(img)
	defer func() { _ = flat.Close() }()
	for entries := tar.NewReader(flat); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = writeEntry(filepath.Join(root, header.Name), header, entries)
		}
		if err != nil {
			return root, err
		}
	}
	files, err := python.Runtime()
	if err != nil {
		return root, err
	}
	return root, writeFiles(filepath.Join(root, "runtime"), files)
}

func writeEntry(name string, header *tar.Header, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return os.Link(filepath.Join(strings.TrimSuffix(name, header.Name), header.Linkname), name)
	case tar.TypeReg:
		file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, header.FileInfo().Mode())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	}
	return os.MkdirAll(name, header.FileInfo().Mode())
}

func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
