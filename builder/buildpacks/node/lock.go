package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lockFile is the part of package-lock.json that says what is installed
// (https://docs.npmjs.com/cli/v10/configuring-npm/package-lock-json). npm writes
// the same into node_modules.
type lockFile struct {
	Packages     map[string]lockedPackage `json:"packages"`     // by folder; versions 2 and 3
	Dependencies map[string]legacyPackage `json:"dependencies"` // by name; version 1
}

type lockedPackage struct {
	Name      string `json:"name"` // when it is not that of the folder
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
	License   any    `json:"license"`
	Dev       bool   `json:"dev"`
	Link      bool   `json:"link"` // the package is another entry
}

type legacyPackage struct {
	Version      string                   `json:"version"`
	Integrity    string                   `json:"integrity"`
	Dev          bool                     `json:"dev"`
	Dependencies map[string]legacyPackage `json:"dependencies"`
}

// installedPackages lists the packages that run with the function, by the lock
// file or, without one, by what npm left in node_modules.
func (p project) installedPackages() ([]component, error) {
	name, content := p.lockName, p.lock
	if p.lock == nil || p.vendored {
		name = filepath.Join(modulesFolder, ".package-lock.json")
		var err error
		content, err = os.ReadFile(filepath.Join(p.folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
	}
	var lock lockFile
	if err := json.Unmarshal(content, &lock); err != nil {
		return nil, fmt.Errorf("%s: %w; make it again with `npm install`", name, err)
	}
	if lock.Packages == nil {
		return legacyComponents(lock.Dependencies), nil
	}
	var components []component
	for _, folder := range slices.Sorted(maps.Keys(lock.Packages)) {
		locked := lock.Packages[folder]
		_, last, inModules := cutLast(folder, modulesFolder+"/")
		if !inModules || locked.Dev || locked.Link {
			continue
		}
		if locked.Name != "" {
			last = locked.Name
		}
		components = append(components, library(last, locked.Version, locked.Integrity, locked.License))
	}
	return compact(components), nil
}

func legacyComponents(packages map[string]legacyPackage) []component {
	var components []component
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		locked := packages[name]
		if locked.Dev {
			continue
		}
		components = append(components, library(name, locked.Version, locked.Integrity, nil))
		components = append(components, legacyComponents(locked.Dependencies)...)
	}
	return compact(components)
}

// compact sorts and drops copies of one version in several folders.
func compact(components []component) []component {
	slices.SortStableFunc(components, func(a, b component) int { return strings.Compare(a.PURL, b.PURL) })
	return slices.CompactFunc(components, func(a, b component) bool { return a.PURL == b.PURL })
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// hexSum turns the lock file's "sha512-<base64>" into what CycloneDX writes.
func hexSum(integrity string) []sum {
	first, _, _ := strings.Cut(integrity, " ") // there may be several
	algorithm, encoded, found := strings.Cut(first, "-")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	name, known := map[string]string{"sha512": "SHA-512", "sha384": "SHA-384", "sha256": "SHA-256", "sha1": "SHA-1"}[algorithm]
	if !found || !known || err != nil {
		return nil
	}
	return []sum{{Algorithm: name, Content: hex.EncodeToString(raw)}}
}
