package golang

import (
	"bytes"
	"io/fs"
	"path"
	"testing"
)

func TestTemplatesAreFunctionsWithTheModulesOfTheRuntime(t *testing.T) {
	for name, kind := range map[string]Kind{"http": HTTP, "event": CloudEvent} {
		t.Run(name, func(t *testing.T) {
			function, err := Detect(path.Join("templates", name))
			if err != nil || function.Kind != kind {
				t.Errorf("%+v %v", function, err)
			}
			entries, err := fs.ReadDir(modules, path.Join("modules", string(kind)))
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				want, _ := fs.ReadFile(modules, path.Join("modules", string(kind), entry.Name()))
				got, err := fs.ReadFile(Templates(), path.Join(name, entry.Name()))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s differs from the one that the builder has offline: %v", entry.Name(), err)
				}
			}
		})
	}
}
