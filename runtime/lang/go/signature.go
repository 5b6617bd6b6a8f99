package golang

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The types of the accepted signatures, spelled with full import paths.
const (
	contextType  = "context.Context"
	writerType   = "net/http.ResponseWriter"
	requestType  = "*net/http.Request"
	eventType    = sdkPath + "/event.Event"
	eventPointer = "*" + eventType
	errorType    = "error"

	sdkPath = "github.com/cloudevents/sdk-go/v2"
)

// aliases maps names that the SDK offers twice to the one used here.
var aliases = map[string]string{
	sdkPath + ".Event":           eventType,
	"*" + sdkPath + ".Event":     eventPointer,
	sdkPath + ".Result":          errorType,
	sdkPath + "/protocol.Result": errorType,
}

// classify matches a declaration against the accepted signatures.
func classify(file *ast.File, function *ast.FuncDecl, at token.Position) (Function, error) {
	found := Function{Package: file.Name.Name, Pos: at}
	imports := importNames(file)
	params := typeNames(function.Type.Params, imports)
	results := typeNames(function.Type.Results, imports)
	if len(params) > 0 && params[0] == contextType {
		found.TakesContext = true
		params = params[1:]
	}
	if function.Type.TypeParams == nil {
		switch {
		case slices.Equal(params, []string{writerType, requestType}) && len(results) == 0:
			found.Kind = HTTP
			return found, nil
		case slices.Equal(params, []string{eventType}) && eventResults(results, &found):
			found.Kind = CloudEvent
			return found, nil
		}
	}
	written := strings.TrimPrefix(types.ExprString(function.Type), "func")
	return Function{}, fmt.Errorf("%s: func %s%s is not a function that Knit can serve; use one of\n%s", at, handlerName, written, accepted)
}

// eventResults takes (), (error), (*event.Event) and (*event.Event, error).
func eventResults(results []string, found *Function) bool {
	if len(results) > 0 && results[0] == eventPointer {
		found.ReturnsEvent = true
		results = results[1:]
	}
	if len(results) > 0 && results[0] == errorType {
		found.ReturnsError = true
		results = results[1:]
	}
	return len(results) == 0
}

// importNames maps the name a file uses for a package to its path.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused such a file already
		}
		name := path.Base(importPath) // holds for every package of the signatures, also for the SDK's root, "v2"
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = importPath
	}
	return names
}

// typeNames spells the types of a field list, one per parameter.
func typeNames(fields *ast.FieldList, imports map[string]string) []string {
	if fields == nil {
		return nil
	}
	var names []string
	for _, field := range fields.List {
		name := typeName(field.Type, imports)
		for range max(1, len(field.Names)) {
			names = append(names, name)
		}
	}
	return names
}

func typeName(expr ast.Expr, imports map[string]string) string {
	name := types.ExprString(expr)
	pointer := ""
	if star, ok := expr.(*ast.StarExpr); ok {
		pointer, expr = "*", star.X
	}
	if selector, ok := expr.(*ast.SelectorExpr); ok {
		if ident, ok := selector.X.(*ast.Ident); ok && imports[ident.Name] != "" {
			name = pointer + imports[ident.Name] + "." + selector.Sel.Name
		}
	}
	if alias, ok := aliases[name]; ok {
		return alias
	}
	return name
}
