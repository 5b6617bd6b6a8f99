package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnotherVersionOfTheSDKIsNamed(t *testing.T) {
	const own = "module f\n\ngo 1.24\n\nrequire github.com/knit-dev/knit/sdk "
	cases := map[string]struct {
		gomod string
		want  string
	}{
		"no go.mod":         {"", ""},
		"no SDK":            {"module f\n", ""},
		"the builder's":     {own + "v0.1.0\n", ""},
		"another":           {own + "v0.0.9\n", "go.mod wants Knit's SDK v0.0.9 and this builder has v0.1.0"},
		"another, brought":  {own + "v0.0.9\n\nreplace github.com/knit-dev/knit/sdk => ./knit-sdk\n", ""},
		"what is no go.mod": {"(", ""},
	}
	for name, c := range cases {
		root := t.TempDir()
		folder := filepath.Join(root, "f")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if c.gomod != "" {
			if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte(c.gomod), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := place{root: root, relative: "f", folder: folder}.sdkMismatch()
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
