package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// ignoreFiles are read in every folder, the later one with more say.
var ignoreFiles = []string{".gitignore", ".knitignore"}

// maxIgnoreFile is the largest ignore file, in bytes.
const maxIgnoreFile = 1 << 20

// ignorer holds the patterns that apply in one folder.
type ignorer struct {
	// top are the parts of the path from the root of the git repository to the
	// packed folder, so that the repository's own .gitignore counts in a
	// folder of a larger repository too.
	top      []string
	patterns []gitignore.Pattern
}

// newIgnorer reads the ignore files above dir, up to the root of the git
// repository it is in, if any.
func newIgnorer(dir string) (ignorer, error) {
	root, ok := gitRoot(dir)
	if !ok {
		return ignorer{}, nil
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return ignorer{}, err
	}
	ig := ignorer{}
	if rel == "." {
		return ig, nil
	}
	at := root
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		for _, name := range ignoreFiles {
			found, err := readPatterns(filepath.Join(at, name), ig.top)
			if err != nil {
				return ignorer{}, err
			}
			ig.patterns = append(ig.patterns, found...)
		}
		ig.top = append(ig.top, part)
		at = filepath.Join(at, part)
	}
	return ig, nil
}

// gitRoot is the nearest folder at or above dir that has a .git.
func gitRoot(dir string) (string, bool) {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// enter adds the patterns of a folder, given by its path below the packed one.
func (ig ignorer) enter(dir string, parts []string) (ignorer, error) {
	domain := ig.path(parts)
	patterns := ig.patterns[:len(ig.patterns):len(ig.patterns)]
	for _, name := range ignoreFiles {
		found, err := readPatterns(filepath.Join(dir, name), domain)
		if err != nil {
			return ignorer{}, err
		}
		patterns = append(patterns, found...)
	}
	return ignorer{top: ig.top, patterns: patterns}, nil
}

// skips reports whether a path is left out.
func (ig ignorer) skips(parts []string, isDir bool) bool {
	if parts[len(parts)-1] == ".git" {
		return true
	}
	return gitignore.NewMatcher(ig.patterns).Match(ig.path(parts), isDir)
}

func (ig ignorer) path(parts []string) []string {
	return append(append([]string(nil), ig.top...), parts...)
}

func readPatterns(file string, domain []string) ([]gitignore.Pattern, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	if len(raw) > maxIgnoreFile {
		return nil, tooLarge("%q has more than %d bytes", file, maxIgnoreFile)
	}
	// The parser keeps the slice it is given, so every folder gets its own.
	domain = append([]string(nil), domain...)
	var patterns []gitignore.Pattern
	for _, line := range bytes.Split(raw, []byte("\n")) {
		text := strings.TrimSuffix(string(line), "\r")
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
			continue
		}
		patterns = append(patterns, gitignore.ParsePattern(text, domain))
	}
	return patterns, nil
}
