package buildpacks

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/builder/images"
)

// Language is a language that only tests know: a finished buildpack and the run
// base that it may ask for.
type Language struct {
	Name, Folder string
	Base         func(context.Context, *images.Cache) (v1.Image, error)
}

// WithLanguages adds languages after Knit's own.
func WithLanguages(o Options, more ...Language) Options {
	for _, l := range more {
		o.more = append(o.more, language{name: l.Name, folder: l.Folder, base: l.Base})
	}
	return o
}
