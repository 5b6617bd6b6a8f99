package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// requirements is what the function asks to be installed.
type requirements struct {
	folder string   // the function's, against which pip resolves relative names
	file   string   // the file that names the packages, relative to folder
	lines  []string // the packages of pyproject.toml; nil when pip reads the file itself
	wheels string   // the folder of vendored wheels, absolute; empty without one
}

// wheelFolders may hold vendored wheels, below the function's folder.
var wheelFolders = []string{"wheels", "vendor"}

// findRequirements reads requirements.txt, or the dependencies of
// pyproject.toml when there is none. It returns nil when nothing is asked for.
func findRequirements(folder string) (*requirements, error) {
	wheels, err := findWheels(folder)
	if err != nil {
		return nil, err
	}
	found := &requirements{folder: folder, file: "requirements.txt", wheels: wheels}
	content, err := readFile(filepath.Join(folder, found.file))
	if err == nil {
		if !slices.ContainsFunc(strings.Split(string(content), "\n"), asksForSomething) {
			return nil, nil
		}
		return found, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read requirements: %w", err)
	}
	found.file = "pyproject.toml"
	found.lines, err = readProject(filepath.Join(folder, found.file))
	if err != nil || len(found.lines) == 0 {
		return nil, err
	}
	return found, nil
}

// maxFile is the largest file of requirements; bytes.
const maxFile = 1 << 20

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", filepath.Base(name), info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

func asksForSomething(line string) bool {
	line = strings.TrimSpace(line)
	return line != "" && !strings.HasPrefix(line, "#")
}

// readProject returns the dependencies of the table project
// (https://packaging.python.org/en/latest/specifications/pyproject-toml/).
func readProject(name string) ([]string, error) {
	var project struct {
		Project struct {
			Dependencies []string
			Dynamic      []string
		}
		Tool struct {
			Poetry struct{ Dependencies map[string]any }
		}
	}
	content, err := readFile(name)
	if err == nil {
		err = toml.Unmarshal(content, &project)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pyproject.toml: %w", err)
	}
	delete(project.Tool.Poetry.Dependencies, "python")
	switch {
	case slices.Contains(project.Project.Dynamic, "dependencies"):
		return nil, errors.New(`pyproject.toml: dependencies are "dynamic", known only to the project's own tool; list them under [project] or in requirements.txt`)
	case len(project.Project.Dependencies) == 0 && len(project.Tool.Poetry.Dependencies) > 0:
		return nil, errors.New("pyproject.toml: [tool.poetry.dependencies] is Poetry's own; list the packages under [project] dependencies, or run `poetry export -o requirements.txt`")
	}
	return project.Project.Dependencies, nil
}

// findWheels returns the first folder that holds wheels.
func findWheels(folder string) (string, error) {
	for _, name := range wheelFolders {
		found, err := filepath.Glob(filepath.Join(folder, name, "*.whl"))
		if err != nil {
			return "", fmt.Errorf("look for vendored wheels: %w", err)
		}
		if len(found) > 0 {
			return filepath.Join(folder, name), nil
		}
	}
	return "", nil
}

// includeLine names another file of requirements or constraints.
var includeLine = regexp.MustCompile(`^\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=|\s*)([^\s#]+)`)

// localLine asks for something that lies in a folder, whose content no hash covers.
var localLine = regexp.MustCompile(`^\s*(?:-e\b|--editable\b|\.{1,2}(?:/|$|\s)|/|file:)|@\s*file:`)

// hash tells apart requirements that give different layers. known is false when
// the files alone do not decide.
func (r *requirements) hash() (sum string, known bool, err error) {
	parts := append([]string{r.file}, r.lines...)
	known = true
	if r.lines == nil {
		seen := map[string]bool{}
		if parts, known, err = r.read(r.file, seen); err != nil {
			return "", false, err
		}
	}
	for _, variable := range indexVariables {
		parts = append(parts, variable+"="+os.Getenv(variable))
	}
	if r.wheels != "" {
		names, err := filepath.Glob(filepath.Join(r.wheels, "*"))
		if err != nil {
			return "", false, fmt.Errorf("list vendored wheels: %w", err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
				continue
			}
			content, err := hashFile(name)
			if err != nil {
				return "", false, fmt.Errorf("read vendored wheel: %w", err)
			}
			parts = append(parts, filepath.Base(name), content)
		}
	}
	return hashStrings(parts...), known, nil
}

// read returns the lines of a file of requirements and of those that it includes.
func (r *requirements) read(file string, seen map[string]bool) (lines []string, known bool, err error) {
	if seen[file] {
		return nil, true, nil
	}
	seen[file] = true
	if !filepath.IsLocal(file) {
		return nil, false, nil
	}
	content, err := readFile(filepath.Join(r.folder, file))
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", r.file, err)
	}
	known = true
	for line := range strings.SplitSeq(string(content), "\n") {
		lines = append(lines, line)
		if localLine.MatchString(line) {
			known = false
		}
		if match := includeLine.FindStringSubmatch(line); match != nil {
			more, all, err := r.read(filepath.Join(filepath.Dir(file), match[1]), seen)
			if err != nil {
				return nil, false, err
			}
			lines, known = append(lines, more...), known && all
		}
	}
	return lines, known, nil
}
