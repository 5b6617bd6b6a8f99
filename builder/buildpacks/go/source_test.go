package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDropSourceKeepsWhatIsAskedFor(t *testing.T) {
	all := []string{"f.go", "data/a.json", "data/b.txt", "data/deep/c.json", "vendor/x/x.go"}
	cases := map[string]struct {
		keep string
		want []string
	}{
		"nothing":           {"", nil},
		"a file":            {"data/b.txt", []string{"data/b.txt"}},
		"a pattern":         {"data/*.json", []string{"data/a.json"}},
		"a folder as whole": {"data", []string{"data/a.json", "data/b.txt", "data/deep/c.json"}},
		"several":           {"f.go:./data/deep/", []string{"f.go", "data/deep/c.json"}},
		"what is not there": {"nothing/*", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range all {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := dropSource(place{root: dir, relative: ".", folder: dir}, c.keep); err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, file := range all {
				if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
					left = append(left, file)
				}
			}
			if diff := cmp.Diff(c.want, left); diff != "" {
				t.Error(diff)
			}
			if len(c.want) == 0 {
				if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
					t.Errorf("empty folders are left: %v %v", entries, err)
				}
			}
		})
	}
	if err := dropSource(place{root: t.TempDir(), relative: "."}, "a[:b"); err == nil {
		t.Error("a bad pattern gives no error")
	}
}

func TestBillOfMaterials(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Path: "function"},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0"},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v2.0.0"}},
		},
	}
	want := []component{
		{Type: "library", Name: "std", Version: "go1.26.8", PURL: "pkg:golang/std@go1.26.8"},
		{Type: "library", Name: "example.com/a", Version: "v1.0.0", PURL: "pkg:golang/example.com/a@v1.0.0"},
		{Type: "library", Name: "example.com/fork", Version: "v2.0.0", PURL: "pkg:golang/example.com/fork@v2.0.0"},
	}
	if diff := cmp.Diff(want, makeBOM(info).Components); diff != "" {
		t.Error(diff)
	}
}
