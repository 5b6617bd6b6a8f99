package node

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/knit-dev/knit/sdk"
)

// runtimeMain is the runtime's program within its folder.
const runtimeMain = "main.js"

//go:embed shim/*.js shim/package.json
var runtimeSources embed.FS

//go:embed shim/check.js
var checker []byte

//go:embed all:templates
var templates embed.FS

// Runtime returns the files of the process that serves functions. Keys are names
// in one folder, which may lie anywhere: the runtime needs nothing but Node.
func Runtime() (map[string][]byte, error) {
	entries, err := runtimeSources.ReadDir("shim")
	if err != nil {
		return nil, fmt.Errorf("read the Node runtime: %w", err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		if files[entry.Name()], err = runtimeSources.ReadFile(path.Join("shim", entry.Name())); err != nil {
			return nil, fmt.Errorf("read the Node runtime: %w", err)
		}
	}
	return files, nil
}

// SDKName is the npm package of Knit's SDK.
const SDKName = "@knit-dev/sdk"

// SDK returns the files of Knit's SDK by slash-separated path. They may lie
// anywhere: the package needs nothing but Node.
func SDK() (map[string][]byte, error) {
	files, err := sdk.NodeFiles()
	if err != nil {
		return nil, fmt.Errorf("read the Node SDK: %w", err)
	}
	return files, nil
}

// Checker is a program for Node that finds syntax errors in the function's files:
// `node --experimental-vm-modules - ENTRY`, in the function's folder. It writes
// them to standard error and ends with code 1.
func Checker() io.Reader { return bytes.NewReader(checker) }

// Arguments are what node is started with, in the function's folder, when the
// runtime's files lie in the folder named runtime.
func Arguments(runtime string, f Function) []string {
	args := []string{
		// Type stripping is stable enough to be Node's default, but says at
		// every start that it is experimental, in the middle of a JSON log.
		"--disable-warning=ExperimentalWarning",
		path.Join(runtime, runtimeMain), f.Entry,
	}
	if f.Kind != Any {
		args = append(args, string(f.Kind))
	}
	return args
}

// Templates are the projects that new functions start from: one folder for each
// of http, event, http-ts and event-ts.
func Templates() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		// The name is constant and embedded: it cannot be missing.
		panic(err)
	}
	return sub
}
