package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ManifestName is the file that describes a Node project.
const ManifestName = "package.json"

// maxManifest bounds package.json, in bytes.
const maxManifest = 1 << 20

// Manifest is the part of package.json that Knit reads
// (https://docs.npmjs.com/cli/v10/configuring-npm/package-json).
type Manifest struct {
	Name                 string            `json:"name"`
	Version              string            `json:"version"`
	Main                 string            `json:"main"`
	Scripts              map[string]string `json:"scripts"`
	Dependencies         map[string]string `json:"dependencies"`
	DevDependencies      map[string]string `json:"devDependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	PeerDependencies     map[string]string `json:"peerDependencies"`
	Knit                 struct {
		Kind Kind `json:"kind"`
	} `json:"knit"`
}

// HasDependencies tells whether npm has anything to install. Development
// dependencies count when the project builds itself.
func (m *Manifest) HasDependencies(development bool) bool {
	if m == nil {
		return false
	}
	n := len(m.Dependencies) + len(m.OptionalDependencies) + len(m.PeerDependencies)
	return n > 0 || development && len(m.DevDependencies) > 0
}

// readManifest returns nil for a folder without package.json. Errors name the
// line.
func readManifest(dir string) (*Manifest, error) {
	file, err := os.Open(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ManifestName, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ManifestName, err)
	}
	if len(content) > maxManifest {
		return nil, fmt.Errorf("%s has more than %d bytes", ManifestName, maxManifest)
	}
	return parseManifest(content)
}

func parseManifest(content []byte) (*Manifest, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // npm takes a byte order mark too
	var m Manifest
	err := json.Unmarshal(content, &m)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("%s: %w", position(content, syntax.Offset), err)
	case errors.As(err, &mismatch) && mismatch.Field == "":
		return nil, fmt.Errorf("%s: want one JSON object, found a %s", position(content, mismatch.Offset), mismatch.Value)
	case errors.As(err, &mismatch):
		return nil, fmt.Errorf("%s: %s is a %s, want a %s", position(content, mismatch.Offset), mismatch.Field, mismatch.Value, mismatch.Type)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", ManifestName, err)
	}
	switch m.Knit.Kind {
	case "", HTTP, CloudEvent, Any:
	default:
		return nil, fmt.Errorf("%s: knit.kind is %q, want %q, %q or %q", ManifestName, m.Knit.Kind, HTTP, CloudEvent, Any)
	}
	return &m, nil
}

// position is package.json:line:column of the byte before the offset, which is
// the one that the JSON decoder stumbled over.
func position(content []byte, offset int64) string {
	before := content[:min(max(offset-1, 0), int64(len(content)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return fmt.Sprintf("%s:%d:%d", ManifestName, line, column)
}
