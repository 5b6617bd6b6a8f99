package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder writes files given as name, content, name, content …
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func keyOf(t *testing.T, files ...string) string {
	t.Helper()
	p, err := openProject(folder(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	return p.key("node npm")
}

const manifest = `{"main": "index.js", "dependencies": {"a": "1"}}`

func TestTheKeyFollowsWhatDecidesThePackages(t *testing.T) {
	base := keyOf(t, "package.json", manifest, "package-lock.json", "lock", "index.js", "")
	if base == "" {
		t.Fatal("a locked project has no key")
	}
	cases := map[string]struct {
		files []string
		same  bool
	}{
		"another line of code":     {[]string{"package.json", manifest, "package-lock.json", "lock", "index.js", "changed"}, true},
		"another script":           {[]string{"package.json", strings.Replace(manifest, "{", `{"scripts": {"test": "x"}, `, 1), "package-lock.json", "lock", "index.js", ""}, true},
		"another lock":             {[]string{"package.json", manifest, "package-lock.json", "other", "index.js", ""}, false},
		"another dependency":       {[]string{"package.json", strings.Replace(manifest, `"1"`, `"2"`, 1), "package-lock.json", "lock", "index.js", ""}, false},
		"settings of npm":          {[]string{"package.json", manifest, "package-lock.json", "lock", "index.js", "", ".npmrc", "omit=optional"}, false},
		"a shrinkwrap comes first": {[]string{"package.json", manifest, "package-lock.json", "lock", "npm-shrinkwrap.json", "other", "index.js", ""}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := keyOf(t, c.files...); got == "" || (got == base) != c.same {
				t.Errorf("the same key: %t, want %t", got == base, c.same)
			}
		})
	}
	for name, files := range map[string][]string{
		"no lock":                      {"package.json", manifest, "index.js", ""},
		"a script that may change all": {"package.json", strings.Replace(manifest, "{", `{"scripts": {"postinstall": "patch-package"}, `, 1), "package-lock.json", "lock", "index.js", ""},
		"packages in the source":       {"package.json", manifest, "package-lock.json", "lock", "index.js", "", "node_modules/a/x", ""},
	} {
		if key := keyOf(t, files...); key != "" {
			t.Errorf("%s: key %s, want none", name, key)
		}
	}
}

func TestDecidesPackages(t *testing.T) {
	for variable, want := range map[string]bool{
		"NPM_CONFIG_REGISTRY": false, "npm_config_https_proxy": false, "NPM_CONFIG_//host/:_authToken": false,
		"NPM_CONFIG_OMIT": true, "npm_config_ignore_scripts": true, "NODE_ENV": false,
	} {
		if got := decidesPackages(variable); got != want {
			t.Errorf("%s: %t, want %t", variable, got, want)
		}
	}
}

func TestFunctionFolder(t *testing.T) {
	for relative, want := range map[string]string{"": "/app", ".": "/app", "services/a": "/app/services/a"} {
		if got, err := functionFolder("/app", relative); err != nil || got != want {
			t.Errorf("%q: %s (%v), want %s", relative, got, err, want)
		}
	}
	for _, relative := range []string{"..", "../x", "/etc", "a/../../b"} {
		if got, err := functionFolder("/app", relative); err == nil {
			t.Errorf("%q: %s, want an error", relative, got)
		}
	}
}

func TestNPMsFailuresAreExplained(t *testing.T) {
	cases := map[string]struct{ command, complaint, want string }{
		"a lock that does not match": {"ci", "npm error code EUSAGE\nnpm error `npm ci` can only install …", "does not match package.json"},
		"no registry":                {"ci", "npm error code ECONNREFUSED", "NPM_CONFIG_REGISTRY"},
		"no such package":            {"install", "npm error code E404", "does not have the package"},
		"other content":              {"ci", "npm error code EINTEGRITY", "other content"},
		"a compiler":                 {"ci", "npm error gyp ERR! find Python", "compile"},
		"anything else":              {"run", "npm error Lifecycle script `build` failed", "messages are above"},
	}
	for name, c := range cases {
		if err := explain(c.command, errors.New("exit status 1"), c.complaint); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func TestMoveTreeKeepsLinksAlive(t *testing.T) {
	root := folder(t, "fn/node_modules/a/index.js", "a", "fn/node_modules/a/run.sh", "#!", "shared/index.js", "s")
	modules := filepath.Join(root, "fn", "node_modules")
	if err := os.Chmod(filepath.Join(modules, "a", "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{".bin": "a", "shared": "../../shared", "absolute": "/etc"} {
		if err := os.Symlink(target, filepath.Join(modules, name)); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "layer", "node_modules")
	if err := moveTree(modules, to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(modules); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	for name, want := range map[string]string{".bin": "a", "shared": filepath.Join(root, "shared"), "absolute": "/etc"} {
		if got, err := os.Readlink(filepath.Join(to, name)); err != nil || got != want {
			t.Errorf("%s leads to %s (%v), want %s", name, got, err, want)
		}
	}
	if content, err := os.ReadFile(filepath.Join(to, "shared", "index.js")); err != nil || string(content) != "s" {
		t.Errorf("the shared package is %q (%v)", content, err)
	}
	if info, err := os.Stat(filepath.Join(to, "a", "run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program is %v (%v)", info, err)
	}
}

func TestTheCacheIsEmptiedWhenItHasOutgrownItsLimit(t *testing.T) {
	for most, want := range map[int64]int{3: 0, 4: 2} {
		dir := folder(t, "a/b", "12", "c", "34")
		if err := trimCache(dir, most); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != want {
			t.Errorf("limit %d: %d entries (%v), want %d", most, len(left), err, want)
		}
	}
	if err := trimCache(filepath.Join(t.TempDir(), "new"), 1); err != nil {
		t.Error(err)
	}
}

const lockThree = `{
  "name": "f", "version": "1.0.0", "lockfileVersion": 3,
  "packages": {
    "": {"name": "f", "version": "1.0.0", "dependencies": {"a": "1"}},
    "node_modules/a": {"version": "1.2.3", "integrity": "sha512-AQI=", "license": "MIT"},
    "node_modules/a/node_modules/@s/b": {"version": "2.0.0"},
    "node_modules/@s/b": {"version": "2.0.0"},
    "node_modules/alias": {"name": "real", "version": "3.0.0+x"},
    "node_modules/dev": {"version": "9.0.0", "dev": true},
    "node_modules/shared": {"resolved": "../shared", "link": true},
    "../shared": {"version": "0.0.1"}
  }
}`

const lockOne = `{"lockfileVersion": 1, "dependencies": {
  "a": {"version": "1.2.3", "integrity": "sha512-AQI=", "dependencies": {"@s/b": {"version": "2.0.0"}}},
  "dev": {"version": "9.0.0", "dev": true}
}}`

func TestTheBillOfMaterialsListsWhatRuns(t *testing.T) {
	cases := map[string]struct {
		lock string
		want []string
	}{
		"version 3": {lockThree, []string{"pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.2.3", "pkg:npm/real@3.0.0+x"}},
		"version 1": {lockOne, []string{"pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.2.3"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := openProject(folder(t, "package.json", manifest, "index.js", "", "package-lock.json", c.lock))
			if err != nil {
				t.Fatal(err)
			}
			packages, err := p.installedPackages()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, part := range packages {
				got = append(got, part.PURL)
				if part.Name == "a" && (len(part.Hashes) != 1 || part.Hashes[0] != sum{"SHA-512", "0102"}) {
					t.Errorf("the sum of a is %v", part.Hashes)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			made := makeBOM(p.function, "22.1.0", packages)
			if made.Components[0].PURL != "pkg:generic/node@22.1.0" || made.Metadata.Component.Name != "function" {
				t.Errorf("bill of materials: %+v", made)
			}
		})
	}
	p, err := openProject(folder(t, "package.json", manifest, "index.js", "", "package-lock.json", "{"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.installedPackages(); err == nil || !strings.Contains(err.Error(), "package-lock.json") {
		t.Errorf("a broken lock gives %v", err)
	}
}

func TestTheFunctionsFolderLiesInTheSource(t *testing.T) {
	for relative, want := range map[string]string{"": "/app", ".": "/app", "services/a": "/app/services/a"} {
		if got, err := functionFolder("/app", relative); err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", relative, got, err, want)
		}
	}
	for _, relative := range []string{"..", "../x", "a/../../x", "/etc"} {
		if got, err := functionFolder("/app", relative); err == nil {
			t.Errorf("%q: %q, want an error", relative, got)
		}
	}
}

func TestTheSDKIsLinkedUnlessTheFunctionBringsIt(t *testing.T) {
	const sdk = "/layers/knit_node/runtime/sdk"
	bare, own := filepath.Join(t.TempDir(), "node_modules"), folder(t, "@knit-dev/sdk/index.js", "own")
	for _, modules := range []string{bare, bare, own} { // twice: a former build has linked it
		if err := linkSDK(modules, sdk); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(filepath.Join(bare, "@knit-dev", "sdk")); err != nil || to != sdk {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
	if content, err := os.ReadFile(filepath.Join(own, "@knit-dev", "sdk", "index.js")); err != nil || string(content) != "own" {
		t.Errorf("the function's own SDK is %q (%v)", content, err)
	}
}
