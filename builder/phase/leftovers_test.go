package phase

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const honestDecisions = `[run-image]
  reference = "r/run@sha256:1"
  image = "r/run:latest"
[metadata]
  [[metadata.buildpacks]]
    key = "knit/go"
    version = "0.1.0"
    [metadata.buildpacks.layers.function]
      launch = true
`

// phaseFolders is what honest phases leave; the files may be replaced.
func phaseFolders(t *testing.T, files map[string]string) leftovers {
	t.Helper()
	root := t.TempDir()
	all := map[string]string{
		"analyzed/analyzed.toml":         honestDecisions,
		"layers/group.toml":              "[[group]]\n  id = \"knit/go\"\n  version = \"0.1.0\"\n",
		"layers/plan.toml":               "",
		"layers/config/metadata.toml":    "buildpack-default-process-type = \"web\"\n[[labels]]\n  key = \"org.example\"\n  value = \"x\"\n[[processes]]\n  type = \"web\"\n",
		"layers/knit_go/launch.toml":     "",
		"layers/knit_go/store.toml":      "",
		"layers/knit_go/function.toml":   "[types]\n  launch = true\n",
		"layers/knit_go/function/main":   "program",
		"layers/sbom/launch/a/sbom.json": "{}",
		"workspace/static/page.html":     "<p>",
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return leftovers{
		layers: filepath.Join(root, "layers"), analyzed: filepath.Join(root, "analyzed", "analyzed.toml"), app: filepath.Join(root, "workspace"),
		limits: limits{bytes: 1 << 20, files: 100},
	}
}

// link puts a symbolic link where something lies or nothing does.
func (l leftovers) link(t *testing.T, target, name string) {
	t.Helper()
	path := filepath.Join(l.layers, name)
	if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

func TestHonestFilesPass(t *testing.T) {
	l := phaseFolders(t, nil)
	// A layer may hold links to anywhere: they are packed as links.
	l.link(t, "../../outside", "knit_go/function/node_modules/.bin/tool")
	if err := l.beforeExport(); err != nil {
		t.Error(err)
	}
}

func TestPlantedFilesAreRefused(t *testing.T) {
	cases := map[string]struct {
		why   string
		files map[string]string
		plant func(t *testing.T, l leftovers)
		want  string
	}{
		"link in place of a layer": {
			why:   "the next restore would unpack the cache over the decisions of analyze",
			plant: func(t *testing.T, l leftovers) { l.link(t, filepath.Dir(l.analyzed), "knit_go/function") }, want: "symbolic link",
		},
		"link in place of a buildpack's folder": {
			why:   "export would look for layers among the credentials",
			plant: func(t *testing.T, l leftovers) { l.link(t, "/registry-credentials", "knit_go") }, want: "knit_go",
		},
		"link in place of a layer's digest": {
			why: "export reads it and may repeat it in the image",
			plant: func(t *testing.T, l leftovers) {
				l.link(t, "/registry-credentials/config.json", "knit_go/function.sha")
			}, want: "symbolic link",
		},
		"link in place of the store": {
			why:   "export writes its content into a label",
			plant: func(t *testing.T, l leftovers) { l.link(t, "/registry-credentials/config.json", "knit_go/store.toml") }, want: "symbolic link",
		},
		"link in place of the bill of materials": {
			why:   "export packs the folder and writes its own files into it",
			plant: func(t *testing.T, l leftovers) { l.link(t, "/registry-credentials", "sbom") }, want: "sbom",
		},
		"link within the bill of materials": {
			why:   "the same",
			plant: func(t *testing.T, l leftovers) { l.link(t, "/registry-credentials", "sbom/launch") }, want: "symbolic link",
		},
		"link in place of the metadata": {
			why: "export would quote what it cannot read",
			plant: func(t *testing.T, l leftovers) {
				l.link(t, "/registry-credentials/config.json", "config/metadata.toml")
			}, want: "symbolic link",
		},
		"pipe": {
			why: "export would wait for ever for its other end",
			plant: func(t *testing.T, l leftovers) {
				if err := syscall.Mkfifo(filepath.Join(l.layers, "knit_go", "function.sha"), 0o644); err != nil {
					t.Fatal(err)
				}
			}, want: "neither a file nor a folder",
		},
		"decisions that are a link": {
			why: "the build could write what the link points to",
			plant: func(t *testing.T, l leftovers) {
				elsewhere := filepath.Join(l.layers, "a.toml")
				if err := errors.Join(os.Rename(l.analyzed, elsewhere), os.Symlink(elsewhere, l.analyzed)); err != nil {
					t.Fatal(err)
				}
			}, want: "symbolic link",
		},
		"no decisions": {
			why: "export would stumble over nothing",
			plant: func(t *testing.T, l leftovers) {
				if err := os.Remove(l.analyzed); err != nil {
					t.Fatal(err)
				}
			}, want: "no such file",
		},
		"former layer with a path": {
			why:   "restore writes a description for each layer of the former image",
			files: map[string]string{"analyzed/analyzed.toml": strings.ReplaceAll(honestDecisions, "layers.function", `layers."../../analyzed/analyzed"`)}, want: "name of a layer",
		},
		"buildpack above the layers": {
			why:   "export would pack what lies beside the layers",
			files: map[string]string{"layers/group.toml": "[[group]]\n  id = \"..\"\n"}, want: "no id of a buildpack",
		},
		"buildpack without a name": {
			why: "the same", files: map[string]string{"layers/group.toml": "[[group]]\n  id = \"\"\n"}, want: "no id of a buildpack",
		},
		"buildpack in the place of the lifecycle": {
			why:   "its folder is checked for something else",
			files: map[string]string{"layers/group.toml": "[[group]]\n  id = \"config\"\n"}, want: "no id of a buildpack",
		},
		"two buildpacks in one folder": {
			why:   "one would describe the other's layers",
			files: map[string]string{"layers/group.toml": "[[group]]\n  id = \"a/b\"\n[[group]]\n  id = \"a_b\"\n"}, want: "two buildpacks",
		},
		"two spellings of a key": {
			why:   "the lifecycle could read the other one",
			files: map[string]string{"layers/group.toml": "group = []\nGROUP = [{id = \"..\"}]\n"}, want: "has the keys",
		},
		"a description that is none": {
			why: "the lifecycle's own words for it are worse", files: map[string]string{"layers/group.toml": "{"}, want: "group.toml",
		},
		"a huge description": {
			why: "it is read whole", files: map[string]string{"layers/group.toml": strings.Repeat("#", maxProposed+1)}, want: "more than",
		},
		"layer that is its parent": {
			why:   "..toml describes the layer . which is the whole folder",
			files: map[string]string{"layers/knit_go/..toml": ""}, want: "name of a layer",
		},
		"layer with a line break": {
			why: "it ends up in logs and labels", files: map[string]string{"layers/knit_go/a\nb/x": ""}, want: "name of a layer",
		},
		"label of the lifecycle": {
			why:   "the next build would unpack any layer that it names, anywhere",
			files: map[string]string{"layers/config/metadata.toml": "[[labels]]\n  key = \"io.buildpacks.lifecycle.metadata\"\n  value = \"{}\"\n"}, want: "are the lifecycle's",
		},
		"huge label": {
			why:   "every node reads the configuration whole",
			files: map[string]string{"layers/config/metadata.toml": "[[labels]]\n  key = \"a\"\n  value = \"" + strings.Repeat("x", maxLabelBytes) + "\"\n"}, want: "labels of",
		},
		"many labels": {
			why:   "the same",
			files: map[string]string{"layers/config/metadata.toml": strings.Repeat("[[labels]]\n  key = \"a\"\n", maxLabels+1)}, want: "labels and",
		},
		"file with holes": {
			why: "it takes no disk until it is packed",
			plant: func(t *testing.T, l leftovers) {
				if err := os.Truncate(filepath.Join(l.layers, "knit_go", "function", "main"), 1<<40); err != nil {
					t.Fatal(err)
				}
			}, want: "MiB in all",
		},
		"many names of one file": {
			why: "each is packed again",
			plant: func(t *testing.T, l leftovers) {
				file := filepath.Join(l.layers, "knit_go", "function", "main")
				if err := os.Truncate(file, 1<<19); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"a", "b"} {
					if err := os.Link(file, filepath.Join(filepath.Dir(file), name)); err != nil {
						t.Fatal(err)
					}
				}
			}, want: "MiB in all",
		},
		"many files": {
			why: "each is an entry of the image",
			plant: func(t *testing.T, l leftovers) {
				if err := os.MkdirAll(filepath.Join(l.app, strings.Repeat("d/", 100)), 0o755); err != nil {
					t.Fatal(err)
				}
			}, want: "files and folders",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := phaseFolders(t, c.files)
			if c.plant != nil {
				c.plant(t, l)
			}
			if err := l.beforeExport(); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want a refusal with %q", c.why, err, c.want)
			}
		})
	}
}
