package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func source(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPackagePath(t *testing.T) {
	cases := map[string]struct {
		files map[string]string
		path  string
		want  string
		why   string
	}{
		"no variable": {map[string]string{"go.mod": "module a\n"}, "", "a", "the root is the function's folder"},
		"no module":   {map[string]string{"apps/fn/f.go": ""}, "apps/fn", "", "one is made"},
		"its own":     {map[string]string{"go.mod": "module top\n", "apps/fn/go.mod": "module fn\n"}, "apps/fn", "fn", "the nearest counts"},
		"above":       {map[string]string{"go.mod": "module example.com/top\n", "apps/fn/f.go": ""}, "apps/fn", "example.com/top/apps/fn", "it is a package of that module"},
		"between":     {map[string]string{"go.mod": "module top\n", "apps/go.mod": "module apps\n", "apps/fn/f.go": ""}, "apps/fn", "apps/fn", "the nearest counts"},
		"not clean":   {map[string]string{"fn/go.mod": "module fn\n"}, "./fn/", "fn", "it means the same"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := findPlace(source(t, c.files), map[string]string{pathVariable: c.path})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.packagePath(); err != nil || got != c.want {
				t.Errorf("%q, %v, want %q: %s", got, err, c.want, c.why)
			}
		})
	}
}

func TestPlacesThatAreRefused(t *testing.T) {
	dir := source(t, map[string]string{"fn/f.go": "", "file": ""})
	for value, want := range map[string]string{
		"..": "not inside", "../x": "not inside", "fn/../../x": "not inside", "/etc": "not inside", "nothing": "no folder", "file": "no folder",
	} {
		if _, err := findPlace(dir, map[string]string{pathVariable: value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", value, err, want)
		}
	}
}

// What is kept is named relative to the function's folder, and the function
// starts there; shared folders go like the rest of the source.
func TestDropSourceBesideSharedFolders(t *testing.T) {
	dir := source(t, map[string]string{"apps/fn/f.go": "", "apps/fn/static/a": "", "shared/static/a": "", "static/a": ""})
	p, err := findPlace(dir, map[string]string{pathVariable: "apps/fn"})
	if err != nil {
		t.Fatal(err)
	}
	if err := dropSource(p, "static"); err != nil {
		t.Fatal(err)
	}
	var left []string
	_ = filepath.WalkDir(dir, func(file string, d os.DirEntry, _ error) error {
		if !d.IsDir() {
			name, _ := filepath.Rel(dir, file)
			left = append(left, name)
		}
		return nil
	})
	if strings.Join(left, " ") != "apps/fn/static/a" || p.workingFolder() != p.folder {
		t.Errorf("left %q, works in %q", left, p.workingFolder())
	}
	if err := dropSource(p, ""); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 || p.workingFolder() != "" {
		t.Errorf("left %v, works in %q", entries, p.workingFolder())
	}
}
