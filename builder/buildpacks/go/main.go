// Command go is Knit's buildpack for Go functions, run by the buildpacks
// lifecycle as bin/detect and bin/build in an unprivileged pod. It finds the
// function in the source, lays Knit's runtime around it and leaves one static
// program in the image. It runs no code of the user and keeps none of the
// source in the image.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/buildpacks/libcnb/v2"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// languageVariable is the Function's spec.language in the build's environment;
// empty means that the language is to be detected.
const languageVariable = "KNIT_LANGUAGE"

func main() {
	if len(os.Args) == 4 && os.Args[1] == cacheMode {
		if err := serveCache(os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "Go build cache:", err)
			os.Exit(1)
		}
		return
	}
	libcnb.BuildpackMain(detect, build)
}

// detect passes for a folder with Go source. A Go function that cannot be
// served is an error and no quiet refusal, so that its author reads why.
func detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	language := ctx.Platform.Environment[languageVariable]
	if language != "" && language != golang.Name {
		return libcnb.DetectResult{}, nil
	}
	at, err := findPlace(ctx.ApplicationPath, ctx.Platform.Environment)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	_, err = golang.Detect(at.folder)
	switch {
	case errors.Is(err, golang.ErrNoGo) && language == "":
		return libcnb.DetectResult{}, nil
	case errors.Is(err, golang.ErrNoGo):
		return libcnb.DetectResult{}, fmt.Errorf("the function's language is go, but its folder has no Go files; check spec.source.path")
	case err != nil:
		return libcnb.DetectResult{}, fmt.Errorf("Go function: %w", err)
	}
	return libcnb.DetectResult{Pass: true, Plans: []libcnb.BuildPlan{{}}}, nil
}
