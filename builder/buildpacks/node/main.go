// Command node is Knit's buildpack for Node.js functions in JavaScript and
// TypeScript, run by the buildpacks lifecycle as bin/detect and bin/build in an
// unprivileged pod. It installs what package-lock.json pins, runs the project's
// own build script when there is one, and puts Knit's runtime beside the
// function. Scripts of packages and of the project run during build; the
// function itself does not.
package main

import (
	"errors"
	"fmt"

	"github.com/buildpacks/libcnb/v2"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// Variables of the build's environment.
const (
	// languageVariable is the Function's spec.language; empty means that the
	// language is to be detected.
	languageVariable = "KNIT_LANGUAGE"
	// pathVariable is the function's folder within the source, slash-separated.
	pathVariable = "KNIT_FUNCTION_PATH"
)

// runBase is the entry of the build plan by which the builder knows that the
// image needs the run base that holds Node.
const runBase = "knit-run-node"

func main() {
	libcnb.BuildpackMain(detect, build)
}

// detect passes for a folder with a Node project. A function that cannot be
// found in it is an error and no quiet refusal, so that its author reads why.
func detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	language := ctx.Platform.Environment[languageVariable]
	if language != "" && language != node.Name {
		return libcnb.DetectResult{}, nil
	}
	folder, err := functionFolder(ctx.ApplicationPath, ctx.Platform.Environment[pathVariable])
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	_, err = node.Detect(folder)
	switch {
	case errors.Is(err, node.ErrNoNode) && language == "":
		return libcnb.DetectResult{}, nil
	case errors.Is(err, node.ErrNoNode):
		return libcnb.DetectResult{}, errors.New("the function's language is node, but its folder holds neither package.json nor index.js or index.ts; check spec.source.path")
	case err != nil:
		return libcnb.DetectResult{}, fmt.Errorf("Node function: %w", err)
	}
	// The second plan is for platforms that bring a run image with Node
	// themselves.
	return libcnb.DetectResult{Pass: true, Plans: []libcnb.BuildPlan{
		{Requires: []libcnb.BuildPlanRequire{{Name: runBase}}},
		{},
	}}, nil
}
