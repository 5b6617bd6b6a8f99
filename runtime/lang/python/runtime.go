package python

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"

	"github.com/knit-dev/knit/sdk"
)

// Main is the program of the runtime, relative to the folder that Runtime fills.
const Main = "main.py"

// BaseLibrary is the folder of the run base with the packages that the runtime
// itself imports, out of sight of the user's code. shim/knit_runtime/base.py has
// the same name.
const BaseLibrary = "/opt/knit/python/lib"

//go:embed shim/main.py shim/knit_runtime/*.py all:shim/stand_in
var shim embed.FS

// Runtime returns the runtime's files by slash-separated path, and Knit's SDK
// below sdk/, for functions that do not bring it.
func Runtime() (map[string][]byte, error) {
	files, err := tree(shim, "shim")
	if err != nil {
		return nil, err
	}
	packages, err := SDK()
	if err != nil {
		return nil, err
	}
	for name, content := range packages {
		files[path.Join("sdk", name)] = content
	}
	return files, nil
}

// SDK returns the Python package knit, by slash-separated path.
func SDK() (map[string][]byte, error) {
	all, err := sdk.PythonFiles()
	if err != nil {
		return nil, fmt.Errorf("read the Python SDK: %w", err)
	}
	maps.DeleteFunc(all, func(name string, _ []byte) bool { return !strings.HasPrefix(name, "knit/") })
	return all, nil
}

// Arguments are what Main is called with, after the folder of the runtime:
// folder and root are absolute paths in the image, packages that of the
// installed requirements or empty.
func (f Function) Arguments(folder, root, packages string) []string {
	return []string{folder, root, packages, f.Module + ":" + f.Entry, string(f.Kind)}
}

// tree reads the .py and other source files below root.
func tree(from fs.FS, root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(from, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "__pycache__" {
				return fs.SkipDir
			}
			return nil
		}
		content, err := fs.ReadFile(from, name)
		files[strings.TrimPrefix(name, root+"/")] = content
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read embedded %s: %w", root, err)
	}
	return files, nil
}
