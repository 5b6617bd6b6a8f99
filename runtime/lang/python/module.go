package python

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxSource is the largest file that is read for a function; bytes.
const maxSource = 4 << 20

// source is one scanned file.
type source struct {
	file       string // slash-separated, relative to the function's folder
	statements []statement
}

// readFile reads a file below dir; fs.ErrNotExist when it is not there.
func readFile(dir, file string) ([]byte, error) {
	name := filepath.Join(dir, filepath.FromSlash(file))
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read function source %s: %w", file, err)
	}
	if info.Size() > maxSource {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that a function's source may have", file, info.Size(), maxSource)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read function source: %w", err)
	}
	return content, nil
}

// readSource scans a file below dir; fs.ErrNotExist when it is not there.
func readSource(dir, file string) (source, error) {
	content, err := readFile(dir, file)
	if err != nil {
		return source{}, err
	}
	statements, err := scan(string(content))
	if err != nil {
		return source{}, fmt.Errorf("%s: %w", file, err)
	}
	return source{file, statements}, nil
}

// signature is a def as it is written.
type signature struct {
	pos       Position
	name      string
	async     bool
	decorated bool
	params    []param // those that a call must give by position
}

type param struct{ name, annotation string }

func (s signature) String() string {
	names := make([]string, len(s.params))
	for i, p := range s.params {
		names[i] = p.name
	}
	return s.name + "(" + strings.Join(names, ", ") + ")"
}

// definition is how a module comes to a name: by a def of its own, from
// another module, or in a way that only Python can follow.
type definition struct {
	pos      Position
	def      *signature
	from     string // "from <from> import <original>"
	original string
}

// find returns the last top-level definition of the name, as Python does.
func (s source) find(name string) (definition, bool) {
	var found definition
	ok := false
	for i, line := range s.statements {
		if line.indent > 0 {
			continue
		}
		at := Position{s.file, line.tokens[0].line}
		if def, is := parseDef(s.file, line.tokens); is && def.name == name {
			def.decorated = i > 0 && s.statements[i-1].tokens[0].is("@")
			found, ok = definition{pos: def.pos, def: &def}, true
		} else if from, original := parseImport(line.tokens, name); from != "" {
			found, ok = definition{pos: at, from: from, original: original}, true
		} else if len(line.tokens) > 2 && line.tokens[0].is(name) && (line.tokens[1].is("=") && !line.tokens[2].is("=") || line.tokens[1].is(":")) {
			found, ok = definition{pos: at}, true
		}
	}
	return found, ok
}

// method returns the first method of the name in any class of the file,
// without self.
func (s source) method(name string) *signature {
	for i, line := range s.statements {
		def, is := parseDef(s.file, line.tokens)
		if !is || line.indent == 0 || def.name != name || len(def.params) == 0 {
			continue
		}
		def.decorated = i > 0 && s.statements[i-1].tokens[0].is("@")
		if def.params[0].name == "self" || def.params[0].name == "cls" {
			def.params = def.params[1:]
		}
		return &def
	}
	return nil
}

// usesEvent tells whether the file reads scope["event"], under the name that
// the function gave its scope.
func (s source) usesEvent(scope string) bool {
	for _, line := range s.statements {
		for i, t := range line.tokens {
			rest := line.tokens[i+1:]
			if !t.is(scope) || len(rest) < 2 {
				continue
			}
			if rest[0].is("[") && isEvent(rest[1]) ||
				len(rest) > 3 && rest[0].is(".") && (rest[1].is("get") || rest[1].is("pop")) && rest[2].is("(") && isEvent(rest[3]) {
				return true
			}
		}
	}
	return false
}

func isEvent(t token) bool { return t.kind == 's' && t.text == "event" }

// parseDef reads "[async] def name(parameters)".
func parseDef(file string, tokens []token) (signature, bool) {
	found := signature{pos: Position{file, tokens[0].line}}
	if tokens[0].is("async") && len(tokens) > 1 {
		found.async, tokens = true, tokens[1:]
	}
	if len(tokens) < 4 || !tokens[0].is("def") || !tokens[2].is("(") {
		return signature{}, false
	}
	found.name = tokens[1].text
	found.params = parseParams(tokens[3:])
	return found, true
}

// parseParams reads parameters up to the closing bracket. Those with a
// default, after a star or behind two of them need not be given.
func parseParams(tokens []token) []param {
	var params []param
	var current []token
	take := func() (star bool) {
		if len(current) == 0 || current[0].is("/") {
			return false
		}
		if current[0].is("*") {
			return true
		}
		name, annotation, _ := strings.Cut(join(current), ":")
		if !slices.ContainsFunc(current, func(t token) bool { return t.is("=") }) {
			params = append(params, param{name, annotation})
		}
		return false
	}
	depth := 0
	for _, t := range tokens {
		switch {
		case depth == 0 && (t.is(",") || t.is(")")):
			if star := take(); star || t.is(")") {
				return params
			}
			current = nil
			continue
		case t.is("(") || t.is("[") || t.is("{"):
			depth++
		case t.is(")") || t.is("]") || t.is("}"):
			depth--
		}
		current = append(current, t)
	}
	return params
}

func join(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// parseImport reads "from module import a, b as name" and returns the module
// and what it calls the name; an empty module when the name is not among them.
func parseImport(tokens []token, name string) (module, original string) {
	if !tokens[0].is("from") {
		return "", ""
	}
	at := slices.IndexFunc(tokens, func(t token) bool { return t.is("import") })
	if at < 2 {
		return "", ""
	}
	var words []string
	for _, t := range tokens[at+1:] {
		if !t.is("(") && !t.is(")") {
			words = append(words, t.text)
		}
	}
	for entry := range strings.SplitSeq(strings.Join(words, " "), ",") {
		fields := strings.Fields(entry)
		if len(fields) > 0 && fields[len(fields)-1] == name {
			return join(tokens[1:at]), fields[0]
		}
	}
	return "", ""
}

// follow reads the file of a module that another one imports from, when it
// lies in the function's folder.
func follow(dir string, importer source, module string) (source, bool, error) {
	base := "."
	if trimmed := strings.TrimLeft(module, "."); trimmed != module {
		base = path.Dir(importer.file)
		for range len(module) - len(trimmed) - 1 {
			base = path.Dir(base)
		}
		module = trimmed
	}
	name := path.Join(base, strings.ReplaceAll(module, ".", "/"))
	for _, file := range []string{name + ".py", path.Join(name, "__init__.py")} {
		if !filepath.IsLocal(filepath.FromSlash(file)) {
			continue
		}
		found, err := readSource(dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return found, err == nil, err
	}
	return source{}, false, nil
}
