package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// sdkMismatch says what to do when the nearest go.mod wants another version of
// Knit's SDK than the one that this builder holds; empty when it does not.
// Somebody's own GOPROXY may have it, so it is looked at only after a failure.
func (p place) sdkMismatch() string {
	sdk, err := golang.LoadSDK()
	if err != nil {
		return ""
	}
	wanted := p.requiredVersion(sdk.Path)
	if wanted == "" || wanted == sdk.Version {
		return ""
	}
	return fmt.Sprintf("; go.mod wants Knit's SDK %s and this builder has %s: run `go get %s@%s`, or bring the SDK along with `knit sdk`",
		wanted, sdk.Version, sdk.Path, sdk.Version)
}

// requiredVersion is what the nearest go.mod requires of a module, empty when it
// does not, or replaces it.
func (p place) requiredVersion(module string) string {
	for dir := p.folder; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			return requiredIn(content, module)
		}
		if dir == p.root {
			return ""
		}
	}
}

func requiredIn(gomod []byte, module string) string {
	parsed, err := modfile.Parse("go.mod", gomod, nil)
	if err != nil {
		return ""
	}
	for _, r := range parsed.Replace {
		if r.Old.Path == module {
			return ""
		}
	}
	for _, r := range parsed.Require {
		if r.Mod.Path == module {
			return r.Mod.Version
		}
	}
	return ""
}
