package process

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/runtime/lang/python"
)

// userID is who runs functions in images.
const userID = 65532

// pythonBase is a root folder with what an image holds: the run base, and the
// runtime in /runtime.
var pythonBase struct {
	once sync.Once
	root string
}

// Python prepares a Python function in a root folder of its own, which needs
// root; without, the test is skipped.
func Python(t testing.TB, files map[string][]byte) Program {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("Python functions run in a root folder of their own: needs root")
	}
	pythonBase.once.Do(func() { pythonBase.root = unpackBase(t) })
	if pythonBase.root == "" {
		t.Fatal("the Python run base could not be unpacked; an earlier test says why")
	}
	dir, err := os.MkdirTemp(pythonBase.root, "workspace-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Write(t, dir, files)
	function, err := python.Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	inside := "/" + filepath.Base(dir)
	arguments := append([]string{"-P", "/runtime/" + python.Main}, function.Arguments(inside, inside, inside+"/packages")...)
	return Program{root: pythonBase.root, command: func(env []string) *exec.Cmd {
		cmd := exec.Command("/usr/bin/python3", arguments...)
		cmd.Dir = "/"
		cmd.Env = append([]string{"LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}, env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: pythonBase.root, Credential: &syscall.Credential{Uid: userID, Gid: userID}, Pdeathsig: syscall.SIGKILL}
		return cmd
	}}
}

func unpackBase(t testing.TB) string {
	t.Helper()
	img, err := images.PythonRun(t.Context(), openCache(t))
	if err != nil {
		t.Fatal(err)
	}
	root := folder(t, "python")
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
			t.Fatal(err)
		}
	}
	files, err := python.Runtime()
	if err != nil {
		t.Fatal(err)
	}
	Write(t, filepath.Join(root, "runtime"), files)
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
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
