package cli

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/knit-dev/knit/functions/cli/cmdline"
	golang "github.com/knit-dev/knit/runtime/lang/go"
	"github.com/knit-dev/knit/runtime/lang/node"
	"github.com/knit-dev/knit/runtime/lang/python"
)

// template is one project to start from.
type template struct {
	Language    string `json:"language"`
	Name        string `json:"name"`
	Description string `json:"description"`
	files       fs.FS
}

// templates lists all, by language and name.
func templates() ([]template, error) {
	var all []template
	for _, l := range []struct {
		name   string
		suffix string // of the folders that hold this language
		files  fs.FS
	}{
		{"go", "", golang.Templates()},
		{"node", "", node.Templates()},
		{"python", "", python.Templates()},
		{"typescript", "-ts", node.Templates()},
	} {
		for _, kind := range []struct{ name, description string }{
			{"event", "takes CloudEvents and may answer with others"},
			{"http", "answers HTTP requests"},
		} {
			files, err := fs.Sub(l.files, kind.name+l.suffix)
			if err != nil {
				return nil, fmt.Errorf("open template %s of %s: %w", kind.name, l.name, err)
			}
			all = append(all, template{l.name, kind.name, kind.description, files})
		}
	}
	return all, nil
}

// find returns the template of a language, or says what there is.
func find(language, name string) (template, error) {
	all, err := templates()
	if err != nil {
		return template{}, err
	}
	var languages []string
	for _, t := range all {
		if t.Language == language && t.Name == name {
			return t, nil
		}
		if !slices.Contains(languages, t.Language) {
			languages = append(languages, t.Language)
		}
	}
	if !slices.Contains(languages, language) {
		return template{}, cmdline.Usagef("--language=%s is none of %s", language, strings.Join(languages, ", "))
	}
	return template{}, cmdline.Usagef("--template=%s is none of event, http", name)
}
