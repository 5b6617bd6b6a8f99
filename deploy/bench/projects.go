package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// dependencies is how many packages the Node and Python projects have.
const dependencies = 60

// project is the source of a function on disk.
type project struct {
	dir, language string
	file          string // the one whose line changes
}

// newProject writes a function that answers with a line of text.
func newProject(dir, language string) (project, error) {
	p := project{dir: dir, language: language}
	files := map[string]string{}
	switch language {
	case "go":
		p.file = "function.go"
		files[p.file] = "package function\n\nimport (\n\t\"io\"\n\t\"net/http\"\n)\n\n" +
			"func Handle(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, \"line 0\") }\n"
	case "node":
		p.file = "index.js"
		nodeProject(files)
	case "python":
		p.file = "func.py"
		pythonProject(files)
	default:
		return p, fmt.Errorf("no project in %s", language)
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return p, err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return p, err
		}
	}
	return p, nil
}

// change changes the one line.
func (p project) change(from, to int) error {
	path := filepath.Join(p.dir, p.file)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(content), fmt.Sprintf("line %d", from), fmt.Sprintf("line %d", to), 1)
	if changed == string(content) {
		return fmt.Errorf("%s has no line %d", path, from)
	}
	return os.WriteFile(path, []byte(changed), 0o644)
}

// nodeProject has packages in the folder node_modules, as a vendored project
// has: no package index is measured.
func nodeProject(files map[string]string) {
	packages, uses := map[string]string{}, ""
	for n := range dependencies {
		name := fmt.Sprintf("bench-dependency-%d", n)
		packages[name] = "1.0.0"
		files["node_modules/"+name+"/package.json"] = fmt.Sprintf(`{"name":%q,"version":"1.0.0","main":"index.js"}`, name)
		files["node_modules/"+name+"/index.js"] = fmt.Sprintf("module.exports = %d;\n", n) + strings.Repeat("// "+strings.Repeat("x", 70)+"\n", 200)
		uses += fmt.Sprintf("require(%q);\n", name)
	}
	manifest, _ := json.Marshal(map[string]any{"name": "bench", "version": "1.0.0", "main": "index.js", "dependencies": packages})
	files["package.json"] = string(manifest)
	files["index.js"] = uses + "module.exports = { handle: async () => 'line 0' };\n"
}

// pythonProject has packages in the folder vendor, for the same reason.
func pythonProject(files map[string]string) {
	var uses string
	for n := range dependencies {
		name := fmt.Sprintf("bench_dependency_%d", n)
		files["vendor/"+name+"/__init__.py"] = fmt.Sprintf("VALUE = %d\n", n) + strings.Repeat("# "+strings.Repeat("x", 70)+"\n", 200)
		uses += "import " + name + "\n"
	}
	files["func.py"] = uses + "\n\nasync def handle(scope, receive, send):\n" +
		"    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n" +
		"    await send({'type': 'http.response.body', 'body': b'line 0'})\n"
}

// fileBytes adds up the regular files of a tar stream.
func fileBytes(from io.Reader) (float64, error) {
	var sum float64
	for entries := tar.NewReader(from); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		sum += float64(header.Size)
	}
}
