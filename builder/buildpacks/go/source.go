package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// keepVariable lists what stays in the image beside the program: patterns of
// path.Match, separated by colons, relative to the function's folder. The name
// is the one that other Go buildpacks use.
const keepVariable = "BP_KEEP_FILES"

// dropSource removes everything from the source, shared folders included, but
// what the patterns match. A folder that matches stays whole. The root itself is
// left writable for its owner alone: pack hands it over open to everybody, and
// so it would be in the image.
func dropSource(at place, keep string) error {
	folder := at.root
	patterns, err := parsePatterns(at.relative, keep)
	if err != nil {
		return err
	}
	var drop, folders []string
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		switch kept := matches(patterns, filepath.ToSlash(relative)); {
		case kept && entry.IsDir():
			return fs.SkipDir
		case kept:
		case entry.IsDir():
			folders = append(folders, name)
		default:
			drop = append(drop, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list source to drop: %w", err)
	}
	for _, name := range drop {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("drop source: %w", err)
		}
	}
	for i := len(folders) - 1; i >= 0; i-- { // the deepest first
		if entries, err := os.ReadDir(folders[i]); err != nil || len(entries) > 0 {
			continue // holds something that is kept
		}
		if err := os.Remove(folders[i]); err != nil {
			return fmt.Errorf("drop source: %w", err)
		}
	}
	return nil
}

// literal makes a pattern that matches nothing but the text itself.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// parsePatterns makes the patterns relative to the root of the source.
func parsePatterns(relative, keep string) ([]string, error) {
	var patterns []string
	for pattern := range strings.SplitSeq(keep, ":") {
		pattern = strings.Trim(path.Clean(pattern), "/")
		if pattern == "." || pattern == "" {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("environment variable %s: pattern %q: %w", keepVariable, pattern, err)
		}
		patterns = append(patterns, path.Join(literal.Replace(relative), pattern))
	}
	return patterns, nil
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}
