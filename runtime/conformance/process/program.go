package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/builder/images/registrytest"
)

// Program is a function that is ready to be started, any number of times.
type Program struct {
	root    string // the root folder of its processes, on this machine
	command func(env []string) *exec.Cmd
}

// Command prepares a process that listens on loopback, on any free port, and
// inherits nothing of the environment but PATH.
func (p Program) Command(env ...string) *exec.Cmd {
	return p.command(append([]string{"PATH=" + os.Getenv("PATH"), "KNIT_HOST=127.0.0.1", "PORT=0"}, env...))
}

// Folder makes a folder that the process may write, and returns its name on this
// machine and the one by which the process knows it.
func (p Program) Folder(t testing.TB) (outside, inside string) {
	t.Helper()
	outside, err := os.MkdirTemp(filepath.Join(p.root, "tmp"), "shared-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	if err := os.Chmod(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	return outside, filepath.Join("/tmp", filepath.Base(outside))
}

// scratch is what the programs of one test binary share. Main removes it.
var scratch struct {
	once   sync.Once
	folder string
	err    error
}

// Main runs the tests of a package and removes what their programs left.
func Main(m *testing.M) int {
	code := m.Run()
	if scratch.folder == "" {
		return code
	}
	if err := os.RemoveAll(scratch.folder); err != nil {
		fmt.Fprintln(os.Stderr, "remove the functions of the tests:", err)
		return 1
	}
	return code
}

// folder makes a folder for one program, which others may read.
func folder(t testing.TB, name string) string {
	t.Helper()
	scratch.once.Do(func() {
		scratch.folder, scratch.err = os.MkdirTemp("", "knit-functions-")
		if scratch.err == nil {
			scratch.err = os.Chmod(scratch.folder, 0o755)
		}
	})
	dir, err := os.MkdirTemp(scratch.folder, name+"-")
	if err := errors.Join(scratch.err, err); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files reads the files below a folder, by slash-separated path.
func Files(t testing.TB, dir fs.FS) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(dir, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Sources makes files of texts.
func Sources(texts map[string]string) map[string][]byte {
	files := map[string][]byte{}
	for name, text := range texts {
		files[name] = []byte(text)
	}
	return files
}

// Write puts files into a folder.
func Write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func openCache(t testing.TB) *images.Cache {
	t.Helper()
	cache, err := images.OpenCache(registrytest.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	return cache
}
