package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The part of CycloneDX 1.4 (https://cyclonedx.org/docs/1.4/json/) that
// installed packages fill.
type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Components  []component `json:"components"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// writeSBOM describes the packages, and Python. It holds no time and no serial
// number: the same packages give the same layer.
func writeSBOM(path string, installed []component) error {
	all := append([]component{{"library", "python", pythonVersion, "pkg:generic/python@" + pythonVersion}}, installed...)
	content, err := json.MarshalIndent(bom{"CycloneDX", "1.4", 1, all}, "", "  ")
	if err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	return nil
}

// separators are equal in the names of packages
// (https://packaging.python.org/en/latest/specifications/name-normalization/).
var separators = regexp.MustCompile(`[-_.]+`)

// readInstalled returns the packages in a folder, by name, from what pip wrote
// beside each (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
func readInstalled(site string) ([]component, error) {
	files, err := filepath.Glob(filepath.Join(site, "*.dist-info", "METADATA"))
	if err != nil {
		return nil, fmt.Errorf("list installed packages: %w", err)
	}
	var found []component
	for _, file := range files {
		name, version, err := readMetadata(file)
		if err != nil {
			return nil, fmt.Errorf("read installed package: %w", err)
		}
		normal := strings.ToLower(separators.ReplaceAllString(name, "-"))
		found = append(found, component{"library", name, version, "pkg:pypi/" + normal + "@" + version})
	}
	slices.SortFunc(found, func(a, b component) int { return strings.Compare(a.PURL, b.PURL) })
	return found, nil
}

// readMetadata reads the header of a METADATA file.
func readMetadata(file string) (name, version string, err error) {
	content, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = content.Close() }()
	lines := bufio.NewScanner(content)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != "" {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.ToLower(key) {
		case "name":
			name = strings.TrimSpace(value)
		case "version":
			version = strings.TrimSpace(value)
		}
	}
	return name, version, lines.Err()
}
