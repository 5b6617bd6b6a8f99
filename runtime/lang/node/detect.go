package node

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrNoNode means that a folder holds no Node project: it is another language's.
var ErrNoNode = errors.New("neither package.json nor a JavaScript or TypeScript file of a function")

// The files that may hold the function when package.json names none, in the
// order of preference.
var (
	entryNames = []string{"index", "function"}
	extensions = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}
)

// funcStart finds the file in the start script of projects that Knative's func
// made, such as `faas-js-runtime ./build/index.js`; those for TypeScript name it
// nowhere else.
var funcStart = regexp.MustCompile(`(?:^|\s)faas-js-runtime\s+(?:--\S+\s+)*([^\s-]\S*)`)

// Detect finds the function's file in dir: what "main" in package.json names,
// else what func's start script names, else index or function with an extension
// of JavaScript or TypeScript. A file that the project's build script is to
// write need not be there yet. Errors name the file.
func Detect(dir string) (Function, error) {
	manifest, err := readManifest(dir)
	if err != nil {
		return Function{}, err
	}
	f := Function{Kind: Any, Manifest: manifest}
	if manifest != nil && manifest.Knit.Kind != "" {
		f.Kind = manifest.Knit.Kind
	}
	if named, from := namedEntry(manifest); named != "" {
		f.EntryFrom = from
		f.Entry, err = resolveNamed(dir, named, from, f.Builds())
		return f, err
	}
	if found := findEntry(dir); found != "" {
		f.Entry, f.EntryFrom = found, "the name of the file"
		return f, nil
	}
	if manifest == nil {
		return Function{}, fmt.Errorf("%w in %s", ErrNoNode, dir)
	}
	return Function{}, fmt.Errorf("%s names no \"main\", and there is none of %s; name the file that exports the function as \"main\"",
		ManifestName, strings.Join(candidates(), ", "))
}

// namedEntry is the file that package.json names, and where.
func namedEntry(m *Manifest) (file, from string) {
	if m == nil {
		return "", ""
	}
	if m.Main != "" {
		return m.Main, `"main" in ` + ManifestName
	}
	if match := funcStart.FindStringSubmatch(m.Scripts["start"]); match != nil {
		return match[1], `the "start" script in ` + ManifestName
	}
	return "", ""
}

// resolveNamed completes the name as Node does: with an extension, or as a
// folder with an index file.
func resolveNamed(dir, name, from string, built bool) (string, error) {
	clean := path.Clean(strings.TrimPrefix(filepath.ToSlash(name), "./"))
	if !filepath.IsLocal(filepath.FromSlash(clean)) {
		return "", fmt.Errorf("%s is %q, which lies outside of the function's folder", from, name)
	}
	tries := []string{clean}
	for _, ending := range extensions {
		tries = append(tries, clean+ending)
	}
	for _, ending := range extensions {
		tries = append(tries, path.Join(clean, "index"+ending))
	}
	for _, try := range tries {
		if isFile(dir, try) {
			return try, nil
		}
	}
	if !built {
		return "", fmt.Errorf("%s is %q, but there is no such file; correct it, or add a \"build\" script that writes it", from, name)
	}
	if extension(clean) == "" {
		return clean + ".js", nil
	}
	return clean, nil
}

func findEntry(dir string) string {
	for _, name := range candidates() {
		if isFile(dir, name) {
			return name
		}
	}
	return ""
}

func candidates() []string {
	var names []string
	for _, name := range entryNames {
		for _, ending := range extensions {
			names = append(names, name+ending)
		}
	}
	return names
}

// extension is the ending that tells Node how to read the file, empty when it is
// none of those.
func extension(name string) string {
	for _, ending := range extensions {
		if strings.HasSuffix(name, ending) {
			return ending
		}
	}
	return ""
}

// isFile follows links, as Node does; those that leave the source were refused
// with the archive.
func isFile(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular()
}
