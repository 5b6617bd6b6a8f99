package golang

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// handlerName is the function that Knit and Knative's func both look for.
const handlerName = "Handle"

// ErrNoGo means that a folder holds no Go source: it is another language's.
var ErrNoGo = errors.New("no Go files")

// Detect finds the function in the Go files of dir itself; subfolders are
// other packages. Tests and files excluded by build constraints for linux
// without cgo do not count. An error names file and line where there is one.
func Detect(dir string) (Function, error) {
	files, set, err := parseFolder(dir)
	if err != nil {
		return Function{}, err
	}
	if len(files) == 0 {
		return Function{}, fmt.Errorf("%w in %s", ErrNoGo, dir)
	}
	if err := onePackage(files, set); err != nil {
		return Function{}, err
	}
	for _, file := range files {
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if ok && function.Name.Name == handlerName && function.Recv == nil {
				return classify(file, function, set.Position(function.Pos()))
			}
		}
	}
	at := set.Position(files[0].Package)
	return Function{}, fmt.Errorf("%s: package %s has no function %s; add one of\n%s", at, files[0].Name.Name, handlerName, accepted)
}

// parseFolder returns the files in the order of their names; positions are relative to dir.
func parseFolder(dir string) ([]*ast.File, *token.FileSet, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read function folder: %w", err)
	}
	target := build.Default
	target.GOOS, target.CgoEnabled = "linux", false
	set := token.NewFileSet()
	var files []*ast.File
	for _, entry := range entries {
		if !isSource(entry) {
			continue
		}
		if match, err := target.MatchFile(dir, entry.Name()); err != nil || !match {
			// A file whose constraints cannot be read is left to the compiler, which says why.
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("read function source: %w", err)
		}
		file, err := parser.ParseFile(set, entry.Name(), content, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, fmt.Errorf("parse function source: %w", err)
		}
		files = append(files, file)
	}
	return files, set, nil
}

func isSource(entry fs.DirEntry) bool {
	name := entry.Name()
	return entry.Type().IsRegular() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

func onePackage(files []*ast.File, set *token.FileSet) error {
	first := files[0]
	other := slices.IndexFunc(files, func(f *ast.File) bool { return f.Name.Name != first.Name.Name })
	if other > 0 {
		return fmt.Errorf("%s: package %s, but %s is package %s; a function's folder holds one package",
			set.Position(files[other].Package), files[other].Name.Name, set.Position(first.Package).Filename, first.Name.Name)
	}
	if first.Name.Name == "main" {
		return fmt.Errorf("%s: package main cannot be a function: Knit writes main itself; rename the package to \"function\" and keep %s",
			set.Position(first.Package), handlerName)
	}
	return nil
}
