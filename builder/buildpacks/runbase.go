package buildpacks

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
)

// runBasePrefix and a language's name make three names: the repository of the
// language's run base (below knit/), the id of the extension that switches to
// it, and the entry of the build plan by which the language's buildpack asks
// for it: its detect requires "knit-run-<language>".
const runBasePrefix = "run-"

// runBaseVersion is the version of the extensions. It never changes: what an
// extension switches to is part of the builder, and the builder has a digest.
const runBaseVersion = "0.1.0"

// runBasePlan is the entry of the build plan that stands for a run base.
func runBasePlan(language string) string { return "knit-" + runBasePrefix + language }

// writeRunBase writes the extension that builds on another run image when a
// buildpack requires it. It runs no program: without bin/detect and
// bin/generate the lifecycle takes the finished files
// (https://github.com/buildpacks/spec/blob/main/image_extension.md). A
// run.Dockerfile that holds FROM alone switches the image; nothing is extended,
// so that no phase needs more rights than the others.
func writeRunBase(dir, language string, base name.Digest) (module, error) {
	id := "knit/" + runBasePrefix + language
	for file, content := range map[string]string{
		"extension.toml": fmt.Sprintf("api = \"0.10\"\n\n[extension]\nid = %q\nname = %q\nversion = %q\n",
			id, "Knit run base for "+language, runBaseVersion),
		"detect/plan.toml":        fmt.Sprintf("[[provides]]\nname = %q\n", runBasePlan(language)),
		"generate/run.Dockerfile": "FROM " + base.String() + "\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return module{}, fmt.Errorf("run base for %s: %w", language, err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return module{}, fmt.Errorf("run base for %s: %w", language, err)
		}
	}
	return module{ID: id, Version: runBaseVersion, Dir: dir}, nil
}
