// Package layout says which parts of a tree make the source of a function: its
// own folder and the shared paths that it needs, below their common root. The
// command line packs by it, the builder fetches and builds by it, so that all
// agree where the function's folder is. It is pure and reads no disk.
package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Layout is the source of one function in a tree. All paths are slash-separated
// and clean; "." is the folder itself.
type Layout struct {
	// Root is the common root of all parts, relative to the tree.
	Root string
	// Function is the function's folder, relative to Root.
	Function string
	// Parts are the folders and files to take, relative to Root, sorted, none
	// below another. It is "." alone when all of Root is taken.
	Parts []string
}

// New arranges the function's folder and the paths that it includes, all of
// them relative to the tree. An empty folder is the tree itself.
func New(folder string, include []string) (Layout, error) {
	all := make([]string, 0, len(include)+1)
	for _, name := range append([]string{folder}, include...) {
		clean, err := inside(name)
		if err != nil {
			return Layout{}, err
		}
		all = append(all, clean)
	}
	root := all[0]
	for _, name := range all[1:] {
		root = common(root, name)
	}
	l := Layout{Root: root, Function: below(root, all[0])}
	for _, name := range all {
		l.Parts = append(l.Parts, below(root, name))
	}
	l.Parts = outermost(l.Parts)
	return l, nil
}

// Selects reports whether a path relative to Root is a part or lies in one.
func (l Layout) Selects(name string) bool {
	return slices.ContainsFunc(l.Parts, func(part string) bool { return covers(part, name) })
}

// Leads reports whether a folder relative to Root has a part somewhere below it.
func (l Layout) Leads(name string) bool {
	return slices.ContainsFunc(l.Parts, func(part string) bool { return covers(name, part) })
}

// inside cleans a path and refuses one that leaves the tree.
func inside(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case path.IsAbs(name):
		return "", fmt.Errorf("the path %q is absolute; it must be relative", name)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("the path %q leads out of the source", name)
	case strings.ContainsAny(name, "\x00\\"):
		return "", fmt.Errorf("the path %q has a NUL or a backslash", name)
	}
	return clean, nil
}

// common is the innermost folder that holds both paths.
func common(a, b string) string {
	for !covers(a, b) {
		a = path.Dir(a)
	}
	return a
}

// covers reports whether b is a or lies below it.
func covers(a, b string) bool {
	return a == "." || a == b || strings.HasPrefix(b, a+"/")
}

// below is a path relative to a folder that covers it.
func below(root, name string) string {
	if root == "." {
		return name
	}
	if name == root {
		return "."
	}
	return strings.TrimPrefix(name, root+"/")
}

func outermost(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	var kept []string
	for _, name := range names {
		if !slices.ContainsFunc(names, func(other string) bool { return other != name && covers(other, name) }) {
			kept = append(kept, name)
		}
	}
	return kept
}
