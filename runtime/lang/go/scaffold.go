package golang

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"path"
	"strings"
	"text/template"
)

// MainFolder is where the generated main package lies within the user's module.
// Files gives no file outside of it but go.mod and go.sum.
const MainFolder = "knit_main"

// defaultModule is the module of a function that brings no go.mod.
const defaultModule = "function"

//go:embed shim/*.go cloudevent/*.go
var runtimeSources embed.FS

//go:embed main.go.tmpl
var mainTemplate string

//go:embed modules
var modules embed.FS

// Scaffold returns the files that turn the user's package into a program: a
// main package in MainFolder with a copy of the runtime, and go.mod and go.sum
// when the user has none (module is empty). Keys are slash-separated paths
// relative to the function's folder. The build lays them over the folder
// (go build -overlay), so that the user's own go.mod, go.sum and vendor folder
// hold unchanged and compiler errors name the user's files. The runtime's files
// carry a build line with their Go version, which lifts the language version of
// an older go.mod for them alone.
func Scaffold(f Function, module string) (map[string][]byte, error) {
	files := map[string][]byte{}
	if module == "" {
		module = defaultModule
		if err := addModule(files, f); err != nil {
			return nil, err
		}
	}
	main, err := renderMain(f, module)
	if err != nil {
		return nil, err
	}
	files[path.Join(MainFolder, "main.go")] = main
	if err := addRuntime(files, "shim"); err != nil {
		return nil, err
	}
	if f.Kind == CloudEvent {
		return files, addRuntime(files, "cloudevent")
	}
	return files, nil
}

// addModule gives a function without go.mod one that resolves offline. The
// embedded files end in .txt, or Go would take their folder for a module.
func addModule(files map[string][]byte, f Function) error {
	kind := string(f.Kind)
	if f.ImportsSDK {
		kind = "sdk"
	}
	folder := path.Join("modules", kind)
	entries, err := modules.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("scaffold %s function: %w", kind, err)
	}
	for _, entry := range entries {
		content, err := modules.ReadFile(path.Join(folder, entry.Name()))
		if err != nil {
			return fmt.Errorf("scaffold %s function: %w", kind, err)
		}
		files[strings.TrimSuffix(entry.Name(), ".txt")] = content
	}
	return nil
}

func renderMain(f Function, module string) ([]byte, error) {
	parsed, err := template.New("main.go").Parse(mainTemplate)
	if err != nil {
		return nil, fmt.Errorf("scaffold main: %w", err)
	}
	var out bytes.Buffer
	data := struct {
		Function
		Module, MainFolder string
	}{f, module, MainFolder}
	if err := parsed.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("scaffold main: %w", err)
	}
	source, err := format.Source(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("scaffold main for module %s: %w", module, err)
	}
	return source, nil
}

func addRuntime(files map[string][]byte, folder string) error {
	entries, err := fs.ReadDir(runtimeSources, folder)
	if err != nil {
		return fmt.Errorf("scaffold %s: %w", folder, err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		name := path.Join(folder, entry.Name())
		content, err := runtimeSources.ReadFile(name)
		if err != nil {
			return fmt.Errorf("scaffold %s: %w", name, err)
		}
		files[path.Join(MainFolder, name)] = content
	}
	return nil
}
