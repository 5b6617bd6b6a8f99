package golang

import (
	"embed"
	"io/fs"
)

//go:embed all:templates
var templates embed.FS

// Templates are the projects that new functions start from: one folder for
// each of http and event. A file go.mod.txt or go.sum.txt loses its .txt when
// it is written out: by its own name it would make a module of its folder here.
func Templates() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the name is constant and embedded
	}
	return sub
}
