package project

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// text is one YAML document of a file.
type text struct {
	first int // line of the file on which it begins, from 1
	raw   []byte
}

// split cuts a file into its YAML documents, without those that hold nothing.
func split(raw []byte) []text {
	var all []text
	current := text{first: 1}
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		if !isSeparator(line) {
			current.raw = append(current.raw, line...)
			continue
		}
		all = append(all, current)
		current = text{first: number + 1}
	}
	all = append(all, current)
	kept := all[:0]
	for _, t := range all {
		if !blank(t.raw) {
			kept = append(kept, t)
		}
	}
	return kept
}

func isSeparator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && len(bytes.TrimSpace(rest)) == 0
}

var (
	// told is the line that a reader of YAML names, within its document.
	told = regexp.MustCompile(`\bline (\d+): ?`)
	// path is the field that a message is about: quoted by the strict decoder,
	// after the name of a Go type by encoding/json, at the front by a validator.
	paths = []*regexp.Regexp{
		regexp.MustCompile(`(?:unknown|duplicate) field "([^"]+)"`),
		regexp.MustCompile(`(?:into|of) (?:Go struct field )?\w+\.((?:spec|metadata)[\w.\[\]]*)`),
		regexp.MustCompile(`(?:^|: )((?:spec|metadata)[\w.\[\]-]*)`),
	}
)

// line is the line of the file that a message about the document is about: of
// the field that it names or, of one that is missing, of what should hold it.
// The message comes back without the line that counts from the document's start.
func (t text) line(message string) (int, string) {
	if match := told.FindStringSubmatchIndex(message); match != nil {
		if n, err := strconv.Atoi(message[match[2]:match[3]]); err == nil {
			return t.first + n - 1, message[:match[0]] + message[match[1]:]
		}
	}
	for _, path := range paths {
		if match := path.FindStringSubmatch(message); match != nil {
			return t.lineOf(match[1]), message
		}
	}
	return t.lineOf(""), message
}

// lineOf is the line of a field such as spec.events[0].broker.
func (t text) lineOf(path string) int {
	var document yaml.Node
	if err := yaml.Unmarshal(t.raw, &document); err != nil || len(document.Content) == 0 {
		return t.first
	}
	node := document.Content[0]
	line := node.Line
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		key, value := child(node, step)
		if value == nil {
			break
		}
		node, line = value, key.Line
	}
	return t.first + line - 1
}

// child finds a key of a mapping or an element of a sequence; key is where it stands.
func child(node *yaml.Node, step string) (key, value *yaml.Node) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	return nil, nil
}
