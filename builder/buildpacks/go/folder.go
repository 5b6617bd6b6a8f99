package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// pathVariable is where the function's folder is below the source's root, when
// the source holds shared folders as well; the root itself when it is not set.
const pathVariable = "KNIT_FUNCTION_PATH"

// place is where a function is in the source.
type place struct {
	root     string // of the source
	relative string // of the function's folder, slash-separated; "." is the root
	folder   string // on disk
}

// findPlace reads where the function is. Knit sets the variable; a path that
// leaves the source is refused all the same.
func findPlace(root string, environment map[string]string) (place, error) {
	p := place{root: root, relative: path.Clean(environment[pathVariable])}
	if !filepath.IsLocal(p.relative) {
		return place{}, fmt.Errorf("%s is %q, which is not inside of the source", pathVariable, p.relative)
	}
	p.folder = filepath.Join(root, filepath.FromSlash(p.relative))
	if info, err := os.Stat(p.folder); err != nil || !info.IsDir() {
		return place{}, fmt.Errorf("the source has no folder %q for the function; check spec.source.path", p.relative)
	}
	return p, nil
}

// packagePath is the import path of the function's package by the nearest
// go.mod, in its folder or above it in the source; empty when there is none.
func (p place) packagePath() (string, error) {
	below := ""
	for dir := p.folder; ; dir = filepath.Dir(dir) {
		module, err := modulePath(dir)
		if err != nil {
			return "", err
		}
		if module != "" {
			return path.Join(module, below), nil
		}
		if dir == p.root {
			return "", nil
		}
		below = path.Join(filepath.Base(dir), below)
	}
}

// workingFolder is where the function starts: the folder to which the files that
// it keeps are relative. It is empty for the root, and when nothing is kept.
func (p place) workingFolder() string {
	if _, err := os.Stat(p.folder); err != nil || p.relative == "." {
		return ""
	}
	return p.folder
}
