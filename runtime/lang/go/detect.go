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

// The names that Knit and Knative's func both look for: a function Handle, or
// a function New whose result has a method Handle.
const (
	handlerName     = "Handle"
	constructorName = "New"
)

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
	function, err := declared(files, set)
	if err != nil {
		return Function{}, err
	}
	function.ImportsSDK = importsSDK(files)
	return function, nil
}

// declared finds Handle, or New with a method Handle.
func declared(files []*ast.File, set *token.FileSet) (Function, error) {
	if handle, file := findFunction(files, handlerName, ""); handle != nil {
		return classify(file, handle, set.Position(handle.Pos()))
	}
	if made := constructed(files); made != "" {
		if handle, file := findFunction(files, handlerName, made); handle != nil {
			function, err := classify(file, handle, set.Position(handle.Pos()))
			function.Instanced = true
			return function, err
		}
	}
	at := set.Position(files[0].Package)
	return Function{}, fmt.Errorf("%s: package %s has no function %s; add one of\n%s", at, files[0].Name.Name, handlerName, accepted)
}

// findFunction returns a declaration by name, a method when receiver is the
// name of a type, and the file that it is in.
func findFunction(files []*ast.File, name, receiver string) (*ast.FuncDecl, *ast.File) {
	for _, file := range files {
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if ok && function.Name.Name == name && receiverName(function) == receiver {
				return function, file
			}
		}
	}
	return nil, nil
}

// receiverName is the type whose method a function is, empty when it is none.
func receiverName(function *ast.FuncDecl) string {
	if function.Recv == nil || len(function.Recv.List) != 1 {
		return ""
	}
	return localType(function.Recv.List[0].Type)
}

// constructed is the type that New, without parameters, returns by value or
// pointer; empty when there is no such New.
func constructed(files []*ast.File) string {
	function, _ := findFunction(files, constructorName, "")
	if function == nil || function.Type.TypeParams != nil || len(function.Type.Params.List) > 0 {
		return ""
	}
	results := function.Type.Results
	if results == nil || len(results.List) != 1 || len(results.List[0].Names) > 1 {
		return ""
	}
	return localType(results.List[0].Type)
}

// localType is the name of a type of the package itself, pointers left aside.
func localType(expr ast.Expr) string {
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	if ident, ok := expr.(*ast.Ident); ok {
		return ident.Name
	}
	return ""
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
