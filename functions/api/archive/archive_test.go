package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree writes files given by path and content; a content that begins with "->"
// is a symbolic link, one that begins with "#!" is executable.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			mode := os.FileMode(0o600)
			if strings.HasPrefix(content, "#!") {
				mode = 0o700
			}
			err = os.WriteFile(file, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read is the opposite of tree.
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, file)
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(file)
			files[name] = "->" + target
			return err
		}
		raw, err := os.ReadFile(file)
		files[name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPackThenUnpack(t *testing.T) {
	cases := map[string]struct {
		files  map[string]string
		want   map[string]string
		reason string
	}{
		"all": {
			files: map[string]string{"main.go": "package main", "a/b/c.txt": "c", "run.sh": "#!/bin/sh"},
			want:  map[string]string{"main.go": "package main", "a/b/c.txt": "c", "run.sh": "#!/bin/sh"},
		},
		"gitignore": {
			files:  map[string]string{".gitignore": "*.log\nbin/\n", "x.log": "x", "bin/a": "a", "sub/y.log": "y", "keep": "k"},
			want:   map[string]string{".gitignore": "*.log\nbin/\n", "keep": "k"},
			reason: "patterns without a slash hold everywhere below",
		},
		"nested gitignore": {
			files:  map[string]string{"sub/.gitignore": "/only\n!kept.log\n", ".gitignore": "*.log", "only": "1", "sub/only": "2", "sub/kept.log": "3", "sub/sub/only": "4"},
			want:   map[string]string{"sub/.gitignore": "/only\n!kept.log\n", ".gitignore": "*.log", "only": "1", "sub/kept.log": "3", "sub/sub/only": "4"},
			reason: "a folder's own file holds below it and can bring back",
		},
		"knitignore wins": {
			files:  map[string]string{".gitignore": "gen.go", ".knitignore": "!gen.go\ntestdata\n", "gen.go": "g", "testdata/a": "a"},
			want:   map[string]string{".gitignore": "gen.go", ".knitignore": "!gen.go\ntestdata\n", "gen.go": "g"},
			reason: "generated code is not in git but is needed for the build",
		},
		"git folder": {
			files:  map[string]string{".git/config": "secret", "sub/.git": "gitdir: x", "a": "a"},
			want:   map[string]string{"a": "a"},
			reason: "history is not source",
		},
		"link inside": {
			files:  map[string]string{"a/link": "->../b/file", "b/file": "f", "self": "->b"},
			want:   map[string]string{"a/link": "->../b/file", "b/file": "f", "self": "->b"},
			reason: "links that stay inside are kept",
		},
		"long and odd names": {
			files: map[string]string{strings.Repeat("d", 200) + "/" + strings.Repeat("f", 200): "x", "ü ñ": "y"},
			want:  map[string]string{strings.Repeat("d", 200) + "/" + strings.Repeat("f", 200): "x", "ü ñ": "y"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			info, err := Pack(tree(t, c.files), &packed)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(packed.Bytes()); info.Digest != "sha256:"+hex.EncodeToString(sum[:]) || info.Size != int64(packed.Len()) || info.Files != len(c.want) {
				t.Errorf("info %+v does not describe the archive of %d bytes", info, packed.Len())
			}
			out := t.TempDir()
			if err := Unpack(&packed, out, DefaultLimits()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, read(t, out)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestGitignoreOfTheRepositoryAboveCounts(t *testing.T) {
	repo := tree(t, map[string]string{
		".git/HEAD": "ref", ".gitignore": "node_modules\n/fn/local\n",
		"fn/main.go": "m", "fn/node_modules/a": "a", "fn/local": "l", "other": "o",
	})
	var packed bytes.Buffer
	if _, err := Pack(filepath.Join(repo, "fn"), &packed); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := Unpack(&packed, out, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"main.go": "m"}, read(t, out)); diff != "" {
		t.Error(diff)
	}
}

func TestSameContentSameDigest(t *testing.T) {
	files := map[string]string{"b": "2", "a/x": "#!1", "a-b": "3"}
	first, second := tree(t, files), tree(t, files)
	// Time, owner bits and the ignored files of the second folder differ.
	old := time.Unix(1_000_000, 0)
	if err := os.Chtimes(filepath.Join(second, "b"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(second, "b"), 0o664); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(second, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	digest := func(dir string) string {
		info, err := Pack(dir, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return info.Digest
	}
	if a, b := digest(first), digest(second); a != b {
		t.Errorf("the same content has the digests %s and %s", a, b)
	}
	// Pinned: a change here makes every function of every user be built again.
	// Go's compressor is a part of it; after an upgrade of Go, pin anew.
	const want = "sha256:2bf98a1146cc5bb06a21c909fa16d57f917f635bdc4eacd61789e2aff43ccd59"
	if got := digest(first); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if err := os.Chmod(filepath.Join(second, "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if a, b := digest(first), digest(second); a == b {
		t.Error("an executable has the digest of a plain file")
	}
}

func TestPackRefuses(t *testing.T) {
	small := Limits{Compressed: 2000, Total: 100_000, File: 60_000, Entries: 3, Depth: 3}
	noise := func(n int) string {
		var b strings.Builder
		for sum := sha256.Sum256(nil); b.Len() < n; sum = sha256.Sum256(sum[:]) {
			b.Write(sum[:])
		}
		return b.String()[:n]
	}
	cases := map[string]struct {
		files map[string]string
		want  error
		text  string
	}{
		"nothing":          {files: nil, text: "has no file"},
		"all ignored":      {files: map[string]string{".knitignore": "*"}, text: "has no file"},
		"link to outside":  {files: map[string]string{"l": "->../x"}, want: ErrUnsafe, text: ".knitignore"},
		"absolute link":    {files: map[string]string{"l": "->/etc/passwd"}, want: ErrUnsafe},
		"down and up link": {files: map[string]string{"d/l": "->..", "m": "->d/l/.."}, want: ErrUnsafe, text: "down and up"},
		"too many":         {files: map[string]string{"1": "", "2": "", "3": "", "4": ""}, want: ErrTooLarge, text: "more than 3 files"},
		"too deep":         {files: map[string]string{"1/2/3/4": ""}, want: ErrTooLarge},
		"large file":       {files: map[string]string{"1": strings.Repeat("a", 60_001)}, want: ErrTooLarge, text: "60001 bytes"},
		"large sum":        {files: map[string]string{"1": strings.Repeat("a", 60_000), "2": strings.Repeat("a", 60_000)}, want: ErrTooLarge},
		"large archive":    {files: map[string]string{"1": noise(3000)}, want: ErrTooLarge},
		"only case":        {files: map[string]string{"README": "", "readme": ""}, want: ErrUnsafe, text: "rename one"},
		"folders by case":  {files: map[string]string{"Lib/a": "", "lib/b": ""}, want: ErrUnsafe, text: "rename one"},
		"no UTF-8":         {files: map[string]string{"a\xff": ""}, want: ErrUnsafe},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := pack(tree(t, c.files), nil, io.Discard, small)
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	t.Run("socket", func(t *testing.T) {
		dir := tree(t, map[string]string{"a": "a"})
		l, err := net.Listen("unix", filepath.Join(dir, "s"))
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		if _, err := Pack(dir, io.Discard); err == nil || !strings.Contains(err.Error(), "neither a file") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		if _, err := Pack(filepath.Join(t.TempDir(), "gone"), io.Discard); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
}

// item is an entry of a hand-made archive.
type item struct {
	kind       byte
	name, text string
	size       int64 // announced size, when it lies
}

func handmade(t testing.TB, items ...item) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, i := range items {
		h := &tar.Header{Typeflag: i.kind, Name: i.name, Mode: 0o644}
		switch i.kind {
		case tar.TypeReg:
			h.Size = max(int64(len(i.text)), i.size)
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = i.text
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if i.kind == tar.TypeReg {
			if _, err := w.Write([]byte(i.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil && !strings.Contains(err.Error(), "missed writing") {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func hostile(t testing.TB) map[string]struct {
	archive []byte
	want    error
} {
	file := func(name, text string) item { return item{kind: tar.TypeReg, name: name, text: text} }
	link := func(name, target string) item { return item{kind: tar.TypeSymlink, name: name, text: target} }
	good := handmade(t, file("a", "a"))
	many := make([]item, 0, 101)
	for i := range 101 {
		many = append(many, file(strings.Repeat("x", i+1), ""))
	}
	return map[string]struct {
		archive []byte
		want    error
	}{
		"parent":             {handmade(t, file("../evil", "x")), ErrUnsafe},
		"parent inside":      {handmade(t, file("a/../../evil", "x")), ErrUnsafe},
		"unclean":            {handmade(t, file("a/./b", "x")), ErrUnsafe},
		"absolute":           {handmade(t, file("/etc/evil", "x")), ErrUnsafe},
		"backslash":          {handmade(t, file(`..\evil`, "x")), ErrUnsafe},
		"folder parent":      {handmade(t, item{kind: tar.TypeDir, name: "../d/"}), ErrUnsafe},
		"hard link":          {handmade(t, file("a", "a"), item{kind: tar.TypeLink, name: "b", text: "a"}), ErrUnsafe},
		"device":             {handmade(t, item{kind: tar.TypeChar, name: "null"}), ErrUnsafe},
		"block device":       {handmade(t, item{kind: tar.TypeBlock, name: "sda"}), ErrUnsafe},
		"pipe":               {handmade(t, item{kind: tar.TypeFifo, name: "p"}), ErrUnsafe},
		"link outside":       {handmade(t, link("l", "../x")), ErrUnsafe},
		"link absolute":      {handmade(t, link("l", "/etc")), ErrUnsafe},
		"link through link":  {handmade(t, link("d/l", ".."), link("m", "d/l/..")), ErrUnsafe},
		"file below link":    {handmade(t, link("l", "d"), file("l/evil", "x")), ErrUnsafe},
		"file over link":     {handmade(t, file("b", "b"), link("l", "b"), file("l", "x")), ErrUnsafe},
		"link over file":     {handmade(t, file("l", "x"), link("l", "b")), ErrUnsafe},
		"link over folder":   {handmade(t, file("d/a", "x"), link("d", "b")), ErrUnsafe},
		"twice":              {handmade(t, file("a", "1"), file("a", "2")), ErrUnsafe},
		"file then folder":   {handmade(t, file("a", "1"), file("a/b", "2")), ErrUnsafe},
		"other case":         {handmade(t, file("Makefile", "1"), file("makefile", "2")), ErrUnsafe},
		"other case folder":  {handmade(t, file("Lib/a", "1"), file("lib/b", "2")), ErrUnsafe},
		"folder over link":   {handmade(t, link("lib", "other"), item{kind: tar.TypeDir, name: "LIB/"}), ErrUnsafe},
		"Kelvin sign":        {handmade(t, file("k", "1"), file("\u212a", "2")), ErrUnsafe},
		"composed":           {handmade(t, file("\u00e9", "1"), file("e\u0301", "2")), ErrUnsafe},
		"double slash":       {handmade(t, file("a", "1"), file(".//a", "2")), ErrUnsafe},
		"dot":                {handmade(t, file("a", "1"), file("./a", "2")), ErrUnsafe},
		"slash at the end":   {handmade(t, item{kind: tar.TypeDir, name: "a//"}), ErrUnsafe},
		"the folder itself":  {handmade(t, item{kind: tar.TypeDir, name: "./"}), ErrUnsafe},
		"NUL":                {zipped(t, withNUL(t)), nil},
		"global header":      {zipped(t, globalHeaders(t, 1)), ErrUnsafe},
		"headers for ever":   {zipped(t, extendedHeaders(t, 12)), ErrTooLarge},
		"long name":          {handmade(t, file(strings.Repeat("x", 256), "x")), ErrUnsafe},
		"too deep":           {handmade(t, file(strings.Repeat("d/", 20)+"x", "x")), ErrTooLarge},
		"too many":           {handmade(t, many...), ErrTooLarge},
		"too many folders":   {handmade(t, file(strings.Repeat("a/", 9)+"1", ""), file("b/"+strings.Repeat("b/", 8)+"1", "")), nil},
		"large file":         {handmade(t, file("a", strings.Repeat("a", 5001))), ErrTooLarge},
		"bomb":               {handmade(t, file("a", strings.Repeat("a", 5000)), file("b", strings.Repeat("a", 5000)), file("c", "1")), ErrTooLarge},
		"announced too much": {handmade(t, item{kind: tar.TypeReg, name: "a", text: "a", size: 1 << 40}), ErrTooLarge},
		"cut short":          {good[:len(good)-12], ErrUnsafe},
		"short file":         {handmade(t, item{kind: tar.TypeReg, name: "a", text: "a", size: 4000}), ErrUnsafe},
		"no gzip":            {[]byte("hello, I am no archive"), ErrUnsafe},
		"empty":              {nil, ErrUnsafe},
		"tail":               {append(bytes.Clone(good), 'x'), ErrUnsafe},
		"second stream":      {append(bytes.Clone(good), good...), ErrUnsafe},
		"data after tar":     {zipped(t, append(make([]byte, 1024), "hidden"...)), ErrUnsafe},
		"endless zeros":      {zipped(t, make([]byte, 2<<20)), ErrUnsafe},
	}
}

// withNUL is a tar whose name goes on after a NUL: readers in C and in Go must
// mean the same file, or one would check what the other does not write.
func withNUL(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "aXb", Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := out.Bytes()
	copy(raw, "a\x00b")
	sum := 0
	copy(raw[148:156], "        ")
	for _, b := range raw[:512] {
		sum += int(b)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

func globalHeaders(t testing.TB, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for range n {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// extendedHeaders is a tar of n extended headers of half a MiB, none of which
// any entry follows: they compress to nothing.
func extendedHeaders(t testing.TB, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	const size = 512 << 10
	record := fmt.Sprintf("%d comment=%s\n", size, strings.Repeat("x", size-len("524288 comment=\n")))
	for range n {
		// The writer refuses such headers by hand, so their type comes after.
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: size, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	raw := out.Bytes()
	for at := 0; at < len(raw); at += 512 + size {
		header := raw[at : at+512]
		header[156] = tar.TypeXHeader
		copy(header[148:156], "        ")
		sum := 0
		for _, b := range header {
			sum += int(b)
		}
		copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return raw
}

var testLimits = Limits{Compressed: 20_000, Total: 10_000, File: 5000, Entries: 100, Depth: 10}

func TestUnpackRefuses(t *testing.T) {
	for name, c := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "in")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := Unpack(bytes.NewReader(c.archive), dir, testLimits); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if names, _ := filepath.Glob(filepath.Join(parent, "*")); len(names) != 1 {
				t.Errorf("something was written outside: %v", names)
			}
		})
	}
}

func TestUnpackRefusesALargeArchive(t *testing.T) {
	limits := testLimits
	limits.Compressed = 50
	raw := handmade(t, item{kind: tar.TypeReg, name: "a", text: "some text"})
	if err := Unpack(bytes.NewReader(raw), t.TempDir(), limits); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v for %d bytes, want %v", err, len(raw), ErrTooLarge)
	}
}

// stored is zipped without the time that compressing takes.
func stored(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzUnpack looks for an archive that writes or points outside of its folder.
func FuzzUnpack(f *testing.F) {
	for _, c := range hostile(f) {
		if z, err := gzip.NewReader(bytes.NewReader(c.archive)); err == nil {
			// Large seeds would leave no time for anything but copying them.
			if raw, _ := io.ReadAll(io.LimitReader(z, 1<<20)); len(raw) < 16<<10 {
				f.Add(raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := Unpack(bytes.NewReader(stored(t, raw)), dir, testLimits)
		if names, _ := filepath.Glob(filepath.Join(parent, "*")); len(names) != 1 {
			t.Fatalf("something was written outside: %v", names)
		}
		count := 0
		walkErr := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if count++; err != nil {
				return err
			}
			if d.Type() != fs.ModeSymlink {
				return nil
			}
			if real, err := filepath.EvalSymlinks(file); err == nil && real != dir && !strings.HasPrefix(real, dir+"/") {
				t.Fatalf("%s leads to %s", file, real)
			}
			return nil
		})
		if walkErr != nil {
			t.Fatal(walkErr)
		}
		if count > testLimits.Entries+1 {
			t.Fatalf("%d entries, at most %d are allowed (unpack: %v)", count, testLimits.Entries, err)
		}
	})
}
