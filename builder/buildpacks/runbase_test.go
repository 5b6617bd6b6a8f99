package buildpacks_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
)

// tinyDetect passes for a folder with the file tiny.txt. It asks for its run
// base, unless the file names an image: then it does what a hostile buildpack
// would, and writes that image down as the run image.
const tinyDetect = `#!/bin/sh
[ -f tiny.txt ] || exit 100
image=$(cat tiny.txt)
if [ -n "$image" ]; then
	printf '[image]\nreference = "%s"\n[run-image]\nimage = "%s"\nreference = "%s"\n' "$image" "$image" "$image" >/layers/analyzed.toml
	exit 0
fi
printf '[[requires]]\nname = "knit-run-tiny"\n' >"$CNB_BUILD_PLAN_PATH"
`

const tinyBuild = `#!/bin/sh
[ "$CNB_TARGET_OS" = linux ] && chmod 755 . || exit 1
printf '[[processes]]\ntype = "web"\ncommand = ["/tiny"]\ndefault = true\n[[labels]]\nkey = "dev.knit.language"\nvalue = "tiny"\n' >"$CNB_LAYERS_DIR/launch.toml"
`

// tiny is a language that needs a run base of its own.
func tiny(t *testing.T) buildpacks.Language {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "buildpack.toml"), []byte("api = \"0.10\"\n[buildpack]\nid = \"test/tiny\"\nversion = \"1.2.3\"\n[[targets]]\nos = \"linux\"\n"))
	for name, script := range map[string]string{"detect": tinyDetect, "build": tinyBuild} {
		file := filepath.Join(dir, "bin", name)
		writeFile(t, file, []byte(script))
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return buildpacks.Language{Name: "tiny", Folder: dir, Base: func(ctx context.Context, c *images.Cache) (v1.Image, error) {
		base, err := images.RunStatic(ctx, c)
		if err != nil {
			return nil, err
		}
		file, err := base.ConfigFile()
		if err != nil {
			return nil, err
		}
		config := *file.Config.DeepCopy()
		config.Env = append(config.Env, "BASE=tiny")
		return mutate.Config(base, config)
	}}
}

func (b builderFixture) testRunBase(t *testing.T) {
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "tiny.txt"), nil)
	img := b.mustBuild(t, "tiny", source, nil)
	if _, config := configOf(t, img); !slices.Contains(config.Env, "BASE=tiny") {
		t.Errorf("the image stands on the wrong base: %v", config.Env)
	}
	if metadata := label(t, img, "io.buildpacks.lifecycle.metadata"); !strings.Contains(metadata, "/knit/run-tiny@sha256:") {
		t.Errorf("a rebase would not know its base: %s", metadata)
	}
	if again := b.mustBuild(t, "tiny", source, nil); digestOf(t, again) != digestOf(t, img) {
		t.Error("the same source gave another image")
	}
}

// testForeignRunImage: the phases with the registry login read what detect
// wrote; it must not get them to read another tenant's image.
func (b builderFixture) testForeignRunImage(t *testing.T) {
	victim := b.mustBuild(t, "victim", helloSample, nil)
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "tiny.txt"), []byte(b.registry.Host+"/"+tenant+"/victim@"+digestOf(t, victim).String()))
	output, failed := b.build(t, "thief", source, nil)
	if failed != "export" || !strings.Contains(output, "the builder does not offer") {
		t.Errorf("phase %q failed:\n%s", failed, output)
	}
}

// testOrder: Go stands before the others, and the Function's language decides.
func (b builderFixture) testOrder(t *testing.T) {
	source := copySource(t, helloSample)
	writeFile(t, filepath.Join(source, "tiny.txt"), nil)
	if got := label(t, b.mustBuild(t, "mixed", source, nil), "dev.knit.language"); got != "go" {
		t.Errorf("a folder with two languages was built as %q, want go", got)
	}
	if got := label(t, b.mustBuild(t, "mixed", source, map[string]string{"KNIT_LANGUAGE": "tiny"}), "dev.knit.language"); got != "tiny" {
		t.Errorf("a folder with two languages was built as %q, want tiny, which is said", got)
	}
}

func label(t *testing.T, img v1.Image, key string) string {
	t.Helper()
	_, config := configOf(t, img)
	return config.Labels[key]
}
