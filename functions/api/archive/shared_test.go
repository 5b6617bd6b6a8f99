package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is a tree with two functions and what they share.
func repository(t testing.TB) string {
	t.Helper()
	return tree(t, map[string]string{
		".git/HEAD": "ref", ".gitignore": "*.log\n", ".knitignore": "docs\n", "go.mod": "module shop",
		"order/f.go": "o", "order/x.log": "x", "order/docs/a": "a",
		"payment/f.go":  "p",
		"shared/lib.go": "s", "shared/.knitignore": "testdata\n", "shared/testdata/big": "b", "shared/docs/a": "a",
	})
}

func unpacked(t testing.TB, packed []byte) map[string]string {
	t.Helper()
	out := t.TempDir()
	if err := Unpack(bytes.NewReader(packed), out, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	return read(t, out)
}

func TestPackShared(t *testing.T) {
	repo := repository(t)
	at := func(names ...string) []string {
		for i := range names {
			names[i] = filepath.Join(repo, names[i])
		}
		return names
	}
	cases := map[string]struct {
		dir     string
		include []string
		path    string
		want    map[string]string
		reason  string
	}{
		"alone":      {dir: "order", path: ".", want: map[string]string{"f.go": "o"}, reason: "ignore files above count as well"},
		"beside":     {dir: "order", include: at("shared"), path: "order", want: map[string]string{"order/f.go": "o", "shared/lib.go": "s", "shared/.knitignore": "testdata\n"}, reason: "each folder's own ignore file holds in it"},
		"above":      {dir: "order", include: at("go.mod"), path: "order", want: map[string]string{"order/f.go": "o", "go.mod": "module shop"}, reason: "a single file is enough for a module above"},
		"everything": {dir: "order", include: at("."), path: "order", want: map[string]string{".gitignore": "*.log\n", ".knitignore": "docs\n", "go.mod": "module shop", "order/f.go": "o", "payment/f.go": "p", "shared/lib.go": "s", "shared/.knitignore": "testdata\n"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			info, err := PackShared(filepath.Join(repo, c.dir), c.include, &packed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, unpacked(t, packed.Bytes())); diff != "" || info.Path != c.path {
				t.Errorf("path %q, want %q; %s (-want +got):\n%s", info.Path, c.path, c.reason, diff)
			}
		})
	}
}

// The digest is what decides whether a function is built again.
func TestOnlyWhatAFunctionUsesChangesItsDigest(t *testing.T) {
	digest := func(repo, function string, include ...string) string {
		t.Helper()
		for i := range include {
			include[i] = filepath.Join(repo, include[i])
		}
		var out bytes.Buffer
		info, err := PackShared(filepath.Join(repo, function), include, &out)
		if err != nil {
			t.Fatal(err)
		}
		return info.Digest
	}
	write := func(repo, name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(repo, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	repo := repository(t)
	order, payment := digest(repo, "order", "shared"), digest(repo, "payment", "shared", "go.mod")
	if got := digest(repository(t), "order", "shared"); got != order {
		t.Error("the same tree at another place has another digest")
	}
	if got := digest(repo, "order", "shared", "./shared/lib.go", "order"); got != order {
		t.Error("naming a path twice makes another digest")
	}
	t.Chdir(filepath.Join(repo, "payment"))
	var out bytes.Buffer
	if info, err := PackShared("../order", []string{"../shared"}, &out); err != nil || info.Digest != order {
		t.Errorf("packed from another folder: %s, %v", info.Digest, err)
	}
	write(repo, "payment/f.go", "changed")
	write(repo, "README", "new")
	if digest(repo, "order", "shared") != order {
		t.Error("a change beside the function changes its digest")
	}
	if digest(repo, "payment", "shared", "go.mod") == payment {
		t.Error("a change of the function does not change its digest")
	}
	write(repo, "shared/lib.go", "changed")
	if digest(repo, "order", "shared") == order {
		t.Error("a change of what the function shares does not change its digest")
	}
}

func TestPackSharedRefuses(t *testing.T) {
	repo := repository(t)
	outside := tree(t, map[string]string{"secret": "s"})
	if err := os.Symlink(outside, filepath.Join(repo, "way-out")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		include string
		want    string
	}{
		"outside of the repository": {outside, "outside of the git repository"},
		"a link that leads out":     {filepath.Join(repo, "way-out"), "outside of the git repository"},
		"missing":                   {filepath.Join(repo, "nothing"), "no such file"},
		"ignored":                   {filepath.Join(repo, "shared/testdata"), "leave in"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := PackShared(filepath.Join(repo, "order"), []string{c.include}, &out); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestNamesTogetherAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.Depth = 1000
	items := make([]item, 0, 6000)
	long := strings.Repeat(strings.Repeat("x", 250)+"/", 12)
	for i := range 6000 {
		items = append(items, item{kind: '0', name: long + strings.Repeat("y", 1+i%200) + strings.Repeat("z", 1+i/200)})
	}
	err := Unpack(bytes.NewReader(handmade(t, items...)), t.TempDir(), limits)
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "names") {
		t.Errorf("error %v", err)
	}
}

// FuzzLinks looks for links that lead out of the folder together, however each
// of them looks.
func FuzzLinks(f *testing.F) {
	f.Add("a/b", "..", "c", "a/b/..", "d", "c/x")
	f.Add("l", "x", "l/m", "..", "n", "l/m")
	f.Add("a/l", "../b", "b/l", "../a/l/..", "q", "a")
	f.Fuzz(func(t *testing.T, name1, to1, name2, to2, name3, to3 string) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w, err := NewWriter(dir, testLimits)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		names := []string{}
		for _, l := range [][2]string{{name1, to1}, {name2, to2}, {name3, to3}} {
			if w.Link(l[0], l[1]) == nil {
				names = append(names, l[0])
			}
		}
		// Folders that the links may go through.
		for _, name := range []string{"a", "b", "c/x", "d/e/f"} {
			_ = w.Folder(name)
		}
		for _, name := range names {
			real, err := filepath.EvalSymlinks(filepath.Join(dir, name))
			if err == nil && real != dir && !strings.HasPrefix(real, dir+"/") {
				t.Fatalf("%q leads to %s", name, real)
			}
		}
	})
}
