package sdk_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/knit-dev/knit/sdk"
)

func TestAllLanguagesHaveOneVersion(t *testing.T) {
	files := map[string][]byte{}
	for _, read := range []func() (map[string][]byte, error){sdk.NodeFiles, sdk.PythonFiles} {
		more, err := read()
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range more {
			files[name] = content
		}
	}
	for name, pattern := range map[string]string{"package.json": `"version": "([^"]+)"`, "pyproject.toml": `version = "([^"]+)"`} {
		found := regexp.MustCompile(pattern).FindSubmatch(files[name])
		if found == nil || "v"+string(found[1]) != sdk.Version {
			t.Errorf("%s names the version %q, source.go %s", name, found, sdk.Version)
		}
	}
}

func TestTheGoModuleIsWhole(t *testing.T) {
	files, err := sdk.GoFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "emit.go", "sdktest/sdktest.go"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is not among its files", name)
		}
	}
	for name := range files {
		if strings.HasPrefix(name, "source") || strings.HasSuffix(name, ".txt") {
			t.Errorf("%s is among its files", name)
		}
	}
}
