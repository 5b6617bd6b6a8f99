package python

import (
	"embed"
	"io/fs"
)

//go:embed all:templates
var templates embed.FS

// Templates are the projects that new functions start from: one folder for
// each of http and event.
func Templates() fs.FS {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		// The name is constant and embedded: it cannot be missing.
		panic(err)
	}
	return sub
}
