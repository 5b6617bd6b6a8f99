package python

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrNoPython means that a folder is no Python project: it is another language's.
var ErrNoPython = errors.New("no Python files")

// candidates are the files that may hold the function, in the order of search.
var candidates = []struct{ file, module string }{
	{"func.py", "func"},
	{"function/__init__.py", "function"},
	{"function/func.py", "function.func"},
	{"main.py", "main"},
	{"app.py", "app"},
}

// entries are the names that a function may have; main is the older form of
// Knative's func and only looked for in func.py.
var entries = []string{"new", "handle", "main"}

// Detect finds the function of the folder dir. It reads the source without
// running it, so what it cannot follow (a decorator, a function made by
// another) is left to the runtime. An error names file and line where there
// is one.
func Detect(dir string) (Function, error) {
	var searched []string
	for _, c := range candidates {
		file, err := readSource(dir, c.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Function{}, err
		}
		searched = append(searched, c.file)
		for _, entry := range entries {
			found, ok := file.find(entry)
			if !ok || entry == "main" && (c.file != "func.py" || found.def != nil && len(found.def.params) != 1) {
				continue
			}
			kind, err := classify(dir, file, entry, found)
			if err != nil {
				return Function{}, err
			}
			return Function{Module: c.module, Entry: entry, Kind: kind, Pos: found.pos}, nil
		}
	}
	return Function{}, missing(dir, searched)
}

// missing says why there is no function.
func missing(dir string, searched []string) error {
	if len(searched) > 0 {
		return fmt.Errorf("%s: no function new or handle; add one of\n%s", strings.Join(searched, ", "), accepted)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read function folder: %w", err)
	}
	for _, entry := range names {
		switch name := entry.Name(); {
		case entry.IsDir():
		case name == "pyproject.toml", name == "requirements.txt", filepath.Ext(name) == ".py":
			return fmt.Errorf("%s: a Python project without a function; write func.py with one of\n%s", name, accepted)
		}
	}
	return fmt.Errorf("%w in %s", ErrNoPython, dir)
}

// classify finds out what the function takes, and refuses what cannot be served.
func classify(dir string, file source, entry string, found definition) (Kind, error) {
	wanted, err := declaredKind(dir)
	if err != nil {
		return "", err
	}
	for hops := 0; found.def == nil && found.from != "" && hops < 8; hops++ {
		next, ok, err := follow(dir, file, found.from)
		if err != nil {
			return "", err
		}
		if !ok {
			break
		}
		there, ok := next.find(found.original)
		if !ok {
			return "", fmt.Errorf("%s: %s has no %s to import", found.pos, next.file, found.original)
		}
		file, found = next, there
	}
	handle := found.def
	if entry == "new" && handle != nil {
		if len(handle.params) > 0 && !handle.decorated {
			return "", fmt.Errorf("%s: %s: new takes no parameters; it returns the object whose handle is called", handle.pos, handle)
		}
		handle = file.method("handle")
	}
	if handle == nil {
		return wanted.or(HTTP), nil
	}
	return handle.kind(file, entry, wanted)
}

// kind decides by the parameters.
func (s signature) kind(file source, entry string, wanted Kind) (Kind, error) {
	switch {
	case s.decorated && len(s.params) != 1 && len(s.params) != 3:
		return wanted.or(HTTP), nil
	case len(s.params) == 3:
		if !s.async && !s.decorated {
			return "", fmt.Errorf("%s: def %s must be async def", s.pos, s)
		}
		if file.usesEvent(s.params[0].name) {
			return wanted.or(CloudEvent), nil
		}
		return wanted.or(HTTP), nil
	case len(s.params) == 1:
		switch p := s.params[0]; {
		case entry == "main":
			return HTTP, nil
		case slices.Contains(eventNames, p.name) || strings.Contains(p.annotation, "CloudEvent"):
			return CloudEvent, nil
		case slices.Contains(requestNames, p.name) || strings.Contains(p.annotation, "Request"):
			return HTTP, nil
		case wanted != "":
			return wanted, nil
		}
		return "", fmt.Errorf("%s: def %s: name the parameter event or request, so that it is clear what the function takes", s.pos, s)
	}
	return "", fmt.Errorf("%s: def %s is not a function that Knit can serve; use one of\n%s", s.pos, s, accepted)
}

// Names of a lone parameter that say what a function takes; shim/knit_runtime/function.py has the same.
var (
	eventNames   = []string{"event", "cloud_event", "cloudevent", "ce"}
	requestNames = []string{"request", "req"}
)

func (k Kind) or(other Kind) Kind {
	if k != "" {
		return k
	}
	return other
}

// invokeLine is the key of Knative's func.yaml that says what a function takes.
var invokeLine = regexp.MustCompile(`(?m)^invoke:[ \t]*["']?(\w+)["']?[ \t]*(?:#.*)?$`)

// declaredKind reads what func.yaml says, empty when it says nothing.
func declaredKind(dir string) (Kind, error) {
	content, err := readFile(dir, "func.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	match := invokeLine.FindSubmatch(content)
	if match == nil {
		return "", nil
	}
	switch string(match[1]) {
	case "http":
		return HTTP, nil
	case "event", "cloudevent":
		return CloudEvent, nil
	}
	return "", fmt.Errorf("func.yaml: invoke: %s: want http or cloudevent", match[1])
}
