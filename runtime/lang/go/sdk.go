package golang

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"

	"github.com/knit-dev/knit/sdk"
)

// SDK is the module that functions import to send events, call each other and
// know themselves. No registry has it: the build image holds it in the form of
// a module proxy, and `knit sdk` writes it into projects.
type SDK struct {
	Path, Version string
	Files         map[string][]byte // by slash-separated path
}

// LoadSDK returns the Go SDK that this program brings along.
func LoadSDK() (SDK, error) {
	files, err := sdk.GoFiles()
	if err != nil {
		return SDK{}, fmt.Errorf("read the Go SDK: %w", err)
	}
	return SDK{Path: sdk.Module, Version: sdk.Version, Files: files}, nil
}

// importsSDK tells whether one of the function's own files imports a package of
// the SDK.
func importsSDK(files []*ast.File) bool {
	return slices.ContainsFunc(files, func(file *ast.File) bool {
		return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
			name, err := strconv.Unquote(spec.Path.Value)
			return err == nil && (name == sdk.Module || strings.HasPrefix(name, sdk.Module+"/"))
		})
	})
}
