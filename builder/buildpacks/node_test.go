package buildpacks_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	nodeTemplates  = "../../runtime/lang/node/templates"
	nodePackages   = "testdata/node-packages"   // one package from the registry, and all that it asks for
	nodeTypeScript = "testdata/node-typescript" // built by its own script
)

var anEvent = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Type: t", "Ce-Source: /s", "Content-Type: application/json"}

// detectContainer is the container in which detect runs, with build.
const detectContainer = string(v1alpha1.PhaseBuild)

// TestNodeBuilder builds functions for Node with the real builder, each phase of
// the lifecycle in an unprivileged container of its own.
func TestNodeBuilder(t *testing.T) {
	b := newBuilder(t)
	t.Run("builds the templates offline", b.testNodeTemplates)
	t.Run("takes packages of the source as they are", b.testNodeVendored)
	t.Run("finds the function and its neighbours in a larger source", b.testNodeShared)
	t.Run("says what is wrong", b.testNodeErrors)
	t.Run("runs as a job", b.testNodeJob)
	b.online = true
	t.Run("installs packages once", b.testNodePackages)
	t.Run("builds TypeScript by the project's script", b.testNodeTypeScript)
	t.Run("installs without a lock file", b.testNodeUnlocked)
	t.Run("says what is wrong with packages", b.testNodePackageErrors)
}

func (b builderFixture) testNodeTemplates(t *testing.T) {
	for _, template := range []string{"http", "http-ts", "event", "event-ts"} {
		t.Run(template, func(t *testing.T) {
			img := b.mustBuild(t, "node-"+template, filepath.Join(nodeTemplates, template), nil)
			checkNodeImage(t, img, strings.HasPrefix(template, "event"))
			headers := []string{"Content-Type: application/json"}
			if strings.HasPrefix(template, "event") {
				headers = anEvent
			}
			resp, body := start(t, img).post(t, `{"name":"Ada"}`, headers...)
			if resp.StatusCode != http.StatusOK || body != `{"message":"Hello, Ada!"}` {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
			if again := b.mustBuild(t, "node-again", filepath.Join(nodeTemplates, template), nil); digestOf(t, again) != digestOf(t, img) {
				t.Error("the same source gave another image")
			}
		})
	}
}

// checkNodeImage looks at what an image must and must not hold.
func checkNodeImage(t *testing.T, img v1.Image, event bool) {
	t.Helper()
	kind := "any"
	if event {
		kind = "cloudevent"
	}
	for key, want := range map[string]string{"dev.knit.language": "node", "dev.knit.function.kind": kind, "io.buildpacks.base.id": "knit-node"} {
		if got := label(t, img, key); got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	user, config := configOf(t, img)
	if user != 65532 || !slices.Equal(config.Entrypoint, []string{"/cnb/process/web"}) {
		t.Errorf("user %d, entrypoint %q", user, config.Entrypoint)
	}
	root := unpack(t, img)
	if _, err := os.Stat(filepath.Join(root, "layers/sbom/launch/knit_node/sbom.cdx.json")); err != nil {
		t.Errorf("bill of materials: %v", err)
	}
	for _, name := range []string{"bin/sh", "usr/local/bin/npm", "workspace/.npmrc"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s is in the image", name)
		}
	}
	size := int64(0)
	err := filepath.WalkDir(root, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the image has %.1f MB, unpacked", float64(size)/1e6)
	if size > 130e6 {
		t.Errorf("the image has %d bytes, want at most 130 MB", size)
	}
}

// layersOf are the layers' digests of content.
func layersOf(t *testing.T, img v1.Image) []v1.Hash {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return file.RootFS.DiffIDs
}

// testNodePackages: the packages of a lock file are installed once; a change of
// the code alone changes the function's own layer and nothing else.
func (b builderFixture) testNodePackages(t *testing.T) {
	const function = "packages"
	source := copySource(t, nodePackages)
	writeFile(t, filepath.Join(source, ".npmrc"), []byte("//registry.example/:_authToken=secret\n"))
	output, failed := b.build(t, function, source, nil)
	if failed != "" || !strings.Contains(output, "Running npm ci --omit=dev") {
		t.Fatalf("phase %q failed:\n%s", failed, output)
	}
	first := b.pull(t, b.image(function))
	checkNodeImage(t, first, false)
	if resp, body := start(t, first).post(t, ""); resp.StatusCode != http.StatusOK || body != "Hello from many packages, function" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	root := unpack(t, first)
	checkSBOM(t, root, "pkg:npm/express@4.21.2", "pkg:npm/is-number@7.0.0")
	if _, err := os.Stat(filepath.Join(root, "layers/knit_node/modules/node_modules/is-number")); err == nil {
		t.Error("a development package is in the image")
	}

	replaceIn(t, filepath.Join(source, "index.js"), "Hello from", "Good day from")
	output, failed = b.build(t, function, source, nil)
	if failed != "" || strings.Contains(output, "Running npm") || !strings.Contains(output, "Reusing the packages of package-lock.json") {
		t.Fatalf("phase %q failed, or npm ran again:\n%s", failed, output)
	}
	changed := b.pull(t, b.image(function))
	if _, body := start(t, changed).post(t, ""); body != "Good day from many packages, function" {
		t.Errorf("the changed function answers %q", body)
	}
	before, after := layersOf(t, first), layersOf(t, changed)
	different := 0
	for i := range after {
		if i >= len(before) || before[i] != after[i] {
			different++
		}
	}
	if len(before) != len(after) || different != 1 {
		t.Errorf("%d of %d layers are other ones, want one", different, len(after))
	}
	if fresh := b.mustBuild(t, function+"-fresh", source, nil); digestOf(t, fresh) != digestOf(t, changed) {
		t.Error("the same source without a cache gave another image")
	}
}

func checkSBOM(t *testing.T, root, want, never string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "layers/sbom/launch/knit_node/sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct{ PURL string }
	}
	if err := json.Unmarshal(content, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
		t.Fatalf("bill of materials %s: %v", content, err)
	}
	has := func(purl string) bool {
		return slices.ContainsFunc(bom.Components, func(c struct{ PURL string }) bool { return c.PURL == purl })
	}
	if !has(want) || has(never) {
		t.Errorf("the bill of materials has %s: %t, %s: %t", want, has(want), never, has(never))
	}
}

// testNodeTypeScript: the script gets development packages, the image does not.
func (b builderFixture) testNodeTypeScript(t *testing.T) {
	const function = "typescript"
	source := copySource(t, nodeTypeScript)
	first := b.mustBuild(t, function, source, nil)
	resp, body := start(t, first).post(t, `{"name":"Ada"}`, anEvent...)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Ce-Type") != "echo" || body != `{"name":"Ada"}` {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	root := unpack(t, first)
	if _, err := os.Stat(filepath.Join(root, "layers/knit_node/modules/node_modules/typescript")); err == nil {
		t.Error("the compiler is in the image")
	}
	checkSBOM(t, root, "pkg:npm/cloudevents@10.0.0", "pkg:npm/typescript@5.9.3")
	replaceIn(t, filepath.Join(source, "src", "index.ts"), "'echo'", "'changed'")
	output, failed := b.build(t, function, source, nil)
	if failed != "" || strings.Contains(output, "npm ci") || strings.Contains(output, "npm prune") {
		t.Fatalf("phase %q failed, or packages were installed again:\n%s", failed, output)
	}
	if resp, _ := start(t, b.pull(t, b.image(function))).post(t, `{}`, anEvent...); resp.Header.Get("Ce-Type") != "changed" {
		t.Errorf("the changed function answers %v", resp.Header)
	}
	replaceIn(t, filepath.Join(source, "src", "index.ts"), "export { handle }", "export { handle: number }")
	if output, failed := b.build(t, function, source, nil); failed != "build" || !strings.Contains(output, "src/index.ts(") || !strings.Contains(output, `the "build" script of package.json`) {
		t.Errorf("phase %q failed:\n%s", failed, output)
	}
}

func (b builderFixture) testNodeVendored(t *testing.T) {
	source := t.TempDir()
	for name, content := range map[string]string{
		"package.json":                       `{"main": "index.js", "dependencies": {"greeting": "^1.0.0"}}`,
		"index.js":                           "const greet = require('greeting');\nexports.handle = () => greet();",
		"node_modules/greeting/index.js":     "module.exports = () => 'from the source';",
		"node_modules/greeting/package.json": `{"name": "greeting", "version": "1.0.0"}`,
	} {
		writeFile(t, filepath.Join(source, name), []byte(content))
	}
	if _, body := start(t, b.mustBuild(t, "vendored-node", source, nil)).post(t, ""); body != "from the source" {
		t.Errorf("got %q", body)
	}
}

// testNodeShared: the function lies in a folder of the source, and takes a
// package and a file from beside it.
func (b builderFixture) testNodeShared(t *testing.T) {
	source := t.TempDir()
	for name, content := range map[string]string{
		"services/a/package.json":      `{"main": "index.js", "dependencies": {"shared": "file:../../shared"}}`,
		"services/a/package-lock.json": `{"lockfileVersion": 3, "requires": true, "packages": {"": {"dependencies": {"shared": "file:../../shared"}}, "../../shared": {"version": "1.0.0"}, "node_modules/shared": {"resolved": "../../shared", "link": true}}}`,
		"services/a/index.js":          "const { word } = require('shared');\nconst { mark } = require('../../lib/mark.js');\nexports.handle = () => word + mark + process.cwd();",
		"shared/package.json":          `{"name": "shared", "version": "1.0.0", "main": "index.js"}`,
		"shared/index.js":              "exports.word = 'shared';",
		"lib/mark.js":                  "exports.mark = '!';",
	} {
		writeFile(t, filepath.Join(source, name), []byte(content))
	}
	env := map[string]string{"KNIT_FUNCTION_PATH": "services/a"}
	for range 2 { // the second time with the packages of the first image
		if _, body := start(t, b.mustBuild(t, "neighbours", source, env)).post(t, ""); body != "shared!/workspace/services/a" {
			t.Errorf("got %q", body)
		}
	}
}

// testNodeJob runs the image's other process.
func (b builderFixture) testNodeJob(t *testing.T) {
	img := b.mustBuild(t, "node-job", filepath.Join(nodeTemplates, "http"), nil)
	user, config := configOf(t, img)
	c := container{Root: unpack(t, img), User: user, Dir: config.WorkingDir, Args: []string{"/cnb/process/job"},
		Env: append(config.Env, `KNIT_JOB_DATA={"name":"Ada"}`, "KNIT_JOB_RESULT=/dev/null")}
	if out, err := c.run(t, true); err != nil || !strings.Contains(out, `"msg":"job succeeded"`) {
		t.Errorf("%v: %s", err, out)
	}
}

func (b builderFixture) testNodeUnlocked(t *testing.T) {
	source := t.TempDir()
	writeFile(t, filepath.Join(source, "package.json"), []byte(`{"dependencies": {"is-number": "7.0.0"}}`))
	writeFile(t, filepath.Join(source, "index.js"), []byte("exports.handle = () => String(require('is-number')(5));"))
	writeFile(t, filepath.Join(source, "yarn.lock"), nil)
	output, failed := b.build(t, "unlocked", source, nil)
	if failed != "" || !strings.Contains(output, "There is no package-lock.json") || !strings.Contains(output, "yarn.lock is not read") {
		t.Fatalf("phase %q failed:\n%s", failed, output)
	}
	img := b.pull(t, b.image("unlocked"))
	if _, body := start(t, img).post(t, ""); body != "true" {
		t.Errorf("got %q", body)
	}
	checkSBOM(t, unpack(t, img), "pkg:npm/is-number@7.0.0", "")
}

// nodeMistake is a source that cannot be built.
type nodeMistake struct {
	files map[string]string
	env   map[string]string
	phase string
	want  []string
}

func (b builderFixture) testNodeErrors(t *testing.T) {
	b.checkMistakes(t, map[string]nodeMistake{
		"a syntax error": {
			files: map[string]string{"index.js": "exports.handle = () => {\n  return 1 +;\n};\n"},
			phase: "build", want: []string{"index.js:2", "Unexpected token", "cannot be loaded"},
		},
		"a syntax error in a file that is imported": {
			files: map[string]string{"index.mjs": "import { a } from './lib/a.mjs';\nexport const handle = () => a;\n", "lib/a.mjs": "\nexport const a = ;\n"},
			phase: "build", want: []string{"lib/a.mjs:2", "Unexpected token"},
		},
		"TypeScript that Node cannot strip": {
			files: map[string]string{"index.ts": "\nenum A { B }\nexport const handle = () => A.B;\n"},
			phase: "build", want: []string{"index.ts:2", "enum is not supported"},
		},
		"a malformed package.json": {
			files: map[string]string{"package.json": "{\n  \"main\": \"index.js\",\n}\n", "index.js": ""},
			phase: detectContainer, want: []string{"package.json:3:1", "Node function"},
		},
		"no file of a function": {
			files: map[string]string{"package.json": "{}", "server.js": ""},
			phase: detectContainer, want: []string{`names no "main"`, "index.js"},
		},
		"no Node where Node is said": {
			files: map[string]string{"main.py": ""}, env: map[string]string{"KNIT_LANGUAGE": "node"},
			phase: detectContainer, want: []string{"the function's language is node", "spec.source.path"},
		},
		"a build script that writes nothing": {
			files: map[string]string{"package.json": `{"main": "dist/index.js", "scripts": {"build": "true"}}`},
			phase: "build", want: []string{`the "build" script has left no file dist/index.js`},
		},
		"a build script that fails": {
			files: map[string]string{"package.json": `{"main": "dist/index.js", "scripts": {"build": "echo no luck; exit 3"}}`},
			phase: "build", want: []string{"no luck", `the "build" script of package.json`},
		},
		"a registry that cannot be reached": {
			files: map[string]string{"package.json": `{"main": "index.js", "dependencies": {"is-number": "7.0.0"}}`, "index.js": ""},
			env:   map[string]string{"NPM_CONFIG_REGISTRY": "http://127.0.0.1:9", "NPM_CONFIG_FETCH_RETRIES": "0"},
			phase: "build", want: []string{"the registry cannot be reached", "NPM_CONFIG_REGISTRY"},
		},
	})
}

func (b builderFixture) testNodePackageErrors(t *testing.T) {
	lock, err := os.ReadFile(filepath.Join(nodePackages, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	b.checkMistakes(t, map[string]nodeMistake{
		"a lock file that does not match": {
			files: map[string]string{"package.json": `{"main": "index.js", "dependencies": {"express": "4.21.2", "is-odd": "3.0.1"}}`, "package-lock.json": string(lock), "index.js": ""},
			phase: "build", want: []string{"the lock file does not match package.json", "npm install"},
		},
		"a package that does not exist": {
			files: map[string]string{"package.json": `{"main": "index.js", "dependencies": {"is-number": "999.0.0"}}`, "index.js": ""},
			phase: "build", want: []string{"ETARGET", "npm install failed"},
		},
	})
}

func (b builderFixture) checkMistakes(t *testing.T, mistakes map[string]nodeMistake) {
	for name, m := range mistakes {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			for file, content := range m.files {
				writeFile(t, filepath.Join(source, file), []byte(content))
			}
			output, failed := b.build(t, "broken-node", source, m.env)
			if failed != m.phase {
				t.Errorf("phase %q failed, want %q", failed, m.phase)
			}
			for _, want := range m.want {
				if !strings.Contains(output, want) {
					t.Errorf("the output does not say %q:\n%s", want, output)
				}
			}
		})
	}
}
