package sdk

import (
	"embed"
	"io/fs"
	"strings"
)

// The SDKs travel with Knit's programs: the builder hands them to functions, and
// `knit sdk` to projects. This file stays behind; it is no part of the Go SDK.

// Version is that of all three SDKs. Any change to what is embedded below, once
// released, is another version.
const Version = "v0.1.0"

// Module is the path of the Go SDK.
const Module = "github.com/knit-dev/knit/sdk"

//go:embed *.go go.mod.txt go.sum.txt sdktest/*.go
var goFiles embed.FS

// GoFiles are the files of the Go SDK as a module, by slash-separated path. Two
// of the embedded files end in .txt, or Go would take this folder for a module
// of its own here as well.
func GoFiles() (map[string][]byte, error) {
	files, err := read(goFiles, ".")
	if err != nil {
		return nil, err
	}
	delete(files, "source.go")
	delete(files, "source_test.go")
	for name, content := range files {
		if plain, ok := strings.CutSuffix(name, ".txt"); ok {
			delete(files, name)
			files[plain] = content
		}
	}
	return files, nil
}

//go:embed node/package.json node/*.js node/*.d.ts node/lib/*.js
var nodeFiles embed.FS

// NodeFiles are the files of the npm package @knit-dev/sdk.
func NodeFiles() (map[string][]byte, error) { return read(nodeFiles, "node") }

//go:embed python/pyproject.toml python/knit/*.py python/knit/py.typed
var pythonFiles embed.FS

// PythonFiles are the files of the Python project knit-sdk, with the package knit.
func PythonFiles() (map[string][]byte, error) { return read(pythonFiles, "python") }

func read(from fs.FS, root string) (map[string][]byte, error) {
	sub, err := fs.Sub(from, root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	err = fs.WalkDir(sub, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(sub, name)
		return err
	})
	return files, err
}
