// Command python is Knit's buildpack for Python functions, run by the
// buildpacks lifecycle as bin/detect and bin/build in an unprivileged pod. It
// finds the function in the source, installs the packages that it asks for,
// compiles what Python would compile at every start, and lays Knit's runtime
// beside it. Of the user's code it runs nothing but what pip runs to build a
// package that comes as source.
package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/buildpacks/libcnb/v2"

	"github.com/knit-dev/knit/runtime/lang/python"
)

const (
	// languageVariable is the Function's spec.language in the build's environment;
	// empty means that the language is to be detected.
	languageVariable = "KNIT_LANGUAGE"

	// pathVariable is the function's folder within the source, slash-separated;
	// empty or "." when the source is the function alone.
	pathVariable = "KNIT_FUNCTION_PATH"

	// runBase is the entry of the build plan by which the builder knows that
	// the image needs the run base that holds Python.
	runBase = "knit-run-python"
)

func main() {
	libcnb.BuildpackMain(detect, build)
}

// detect passes for a folder with Python source. A Python function that cannot
// be served is an error and no quiet refusal, so that its author reads why.
func detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	language := ctx.Platform.Environment[languageVariable]
	if language != "" && language != python.Name {
		return libcnb.DetectResult{}, nil
	}
	folder, err := functionFolder(ctx.ApplicationPath, ctx.Platform.Environment)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	_, err = python.Detect(folder)
	switch {
	case errors.Is(err, python.ErrNoPython) && language == "":
		return libcnb.DetectResult{}, nil
	case errors.Is(err, python.ErrNoPython):
		return libcnb.DetectResult{}, fmt.Errorf("the function's language is python, but its folder has no Python files; check spec.source.path")
	case err != nil:
		return libcnb.DetectResult{}, fmt.Errorf("Python function: %w", err)
	}
	// The second plan is for platforms that bring a run image with Python
	// themselves.
	return libcnb.DetectResult{Pass: true, Plans: []libcnb.BuildPlan{
		{Requires: []libcnb.BuildPlanRequire{{Name: runBase}}},
		{},
	}}, nil
}

// functionFolder is where the function lies in the source.
func functionFolder(root string, env map[string]string) (string, error) {
	relative := filepath.FromSlash(env[pathVariable])
	if relative == "" {
		return root, nil
	}
	if !filepath.IsLocal(relative) {
		return "", fmt.Errorf("environment variable %s=%q leads out of the source", pathVariable, relative)
	}
	return filepath.Join(root, relative), nil
}
