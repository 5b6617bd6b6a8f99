package archive

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knit-dev/knit/functions/api/layout"
)

// Info describes an archive that was packed.
type Info struct {
	// Digest of the archive, "sha256:" and 64 hexadecimal digits.
	Digest string
	// Size of the archive in bytes.
	Size int64
	// Files is how many files and links are in it.
	Files int
	// Path is the packed folder in the archive: "." unless shared paths beside
	// or above it are in the archive, too.
	Path string
}

// Pack writes the archive of a folder. The same content gives the same bytes, on
// every machine, at any time, and wherever the folder is.
//
// Symbolic links that stay inside of the folder are kept; others are an error,
// and so are sockets, pipes and devices. Empty folders are left out.
func Pack(dir string, w io.Writer) (Info, error) { return PackShared(dir, nil, w) }

// PackShared is Pack for a folder and the shared paths on disk that it needs,
// below their common root. In a git repository nothing outside of it is taken.
func PackShared(dir string, include []string, w io.Writer) (Info, error) {
	return pack(dir, include, w, DefaultLimits())
}

// entry is one file or link to pack.
type entry struct {
	name string // slash-separated, below the root
	file string // on disk
	info fs.FileInfo
}

func pack(dir string, include []string, w io.Writer, limits Limits) (Info, error) {
	root, parts, err := arrange(dir, include)
	if err != nil {
		return Info{}, err
	}
	entries, err := collect(root, parts, limits)
	if err != nil {
		return Info{}, err
	}
	out := &meter{w: w, hash: sha256.New(), limit: limits.Compressed}
	if err := write(out, entries); err != nil {
		return Info{}, err
	}
	return Info{Digest: "sha256:" + hex.EncodeToString(out.hash.Sum(nil)), Size: out.size, Files: len(entries), Path: parts.Function}, nil
}

// arrange finds the common root on disk. Paths are real ones, because that is
// how the repository that a folder belongs to is found.
func arrange(dir string, include []string) (root string, l layout.Layout, err error) {
	dir, err = realPath(dir)
	if err != nil {
		return "", l, fmt.Errorf("read the source folder: %w", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", l, fmt.Errorf("the source %q is not a folder", dir)
	}
	top, inGit := gitRoot(dir)
	if !inGit {
		top = filepath.VolumeName(dir) + string(filepath.Separator)
	}
	below := make([]string, 0, len(include))
	for _, name := range append([]string{dir}, include...) {
		real, err := realPath(name)
		if err != nil {
			return "", l, fmt.Errorf("read the included path: %w", err)
		}
		relative, err := filepath.Rel(top, real)
		if err != nil {
			return "", l, err
		}
		if !filepath.IsLocal(relative) {
			return "", l, fmt.Errorf("the included path %q is outside of the git repository %q", name, top)
		}
		below = append(below, filepath.ToSlash(relative))
	}
	if l, err = layout.New(below[0], below[1:]); err != nil {
		return "", l, err
	}
	return filepath.Join(top, filepath.FromSlash(l.Root)), l, nil
}

func realPath(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}

func collect(root string, parts layout.Layout, limits Limits) ([]entry, error) {
	top, err := newIgnorer(root)
	if err != nil {
		return nil, err
	}
	c := collector{limits: limits, parts: parts, folded: map[string]string{}}
	if err := c.folder(root, nil, top); err != nil {
		return nil, err
	}
	for _, part := range append([]string{parts.Function}, parts.Parts...) {
		one := layout.Layout{Parts: []string{part}}
		if !slices.ContainsFunc(c.entries, func(e entry) bool { return one.Selects(e.name) }) {
			return nil, fmt.Errorf("the source %q has no file that .gitignore and .knitignore leave in", filepath.Join(root, filepath.FromSlash(part)))
		}
	}
	slices.SortFunc(c.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return c.entries, nil
}

type collector struct {
	limits  Limits
	parts   layout.Layout
	total   int64
	entries []entry
	folded  map[string]string
}

func (c *collector) folder(dir string, parts []string, outer ignorer) error {
	ig, err := outer.enter(dir, parts)
	if err != nil {
		return err
	}
	children, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		below := append(parts[:len(parts):len(parts)], child.Name())
		name := strings.Join(below, "/")
		if !c.parts.Selects(name) && (!child.IsDir() || !c.parts.Leads(name)) || ig.skips(below, child.IsDir()) {
			continue
		}
		file := filepath.Join(dir, child.Name())
		if child.IsDir() {
			if err := checkPath(name, c.limits.Depth); err != nil {
				return err
			}
			if err := c.folder(file, below, ig); err != nil {
				return err
			}
			continue
		}
		if err := c.add(file, name, child); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) add(file, name string, d fs.DirEntry) error {
	if err := checkPath(name, c.limits.Depth); err != nil {
		return err
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("%q is neither a file nor a folder nor a link; remove it or name it in .knitignore", file)
	}
	if info.Mode().IsRegular() {
		c.total += info.Size()
		if info.Size() > c.limits.File {
			return tooLarge("%q has %d bytes, a file may have %d; name it in .knitignore if it is not source", file, info.Size(), c.limits.File)
		}
	}
	for at := name; at != "."; at = path.Dir(at) {
		if err := distinct(c.folded, at); err != nil {
			return err
		}
	}
	c.entries = append(c.entries, entry{name: name, file: file, info: info})
	if len(c.entries) > c.limits.Entries {
		return tooLarge("more than %d files; name what is not source in .knitignore", c.limits.Entries)
	}
	if c.total > c.limits.Total {
		return tooLarge("the files have more than %d bytes together; name what is not source in .knitignore", c.limits.Total)
	}
	return nil
}

func write(w io.Writer, entries []entry) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, e := range entries {
		if err := writeEntry(archive, e); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func writeEntry(w *tar.Writer, e entry) error {
	header := &tar.Header{Format: tar.FormatPAX, Name: e.name, Mode: 0o644}
	if e.info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(e.file)
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, filepath.ToSlash(target), 0o777
		if err := checkLink(e.name, header.Linkname); err != nil {
			return fmt.Errorf("%w; replace the link or name it in .knitignore", err)
		}
		return w.WriteHeader(header)
	}
	f, err := os.Open(e.file)
	if err != nil {
		return err
	}
	defer f.Close()
	header.Typeflag, header.Size = tar.TypeReg, e.info.Size()
	if e.info.Mode()&0o111 != 0 {
		header.Mode = 0o755
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("pack %q: %w", e.file, err)
	}
	// One byte more than announced shows a file that grew meanwhile.
	n, err := io.Copy(w, io.LimitReader(f, header.Size+1))
	if err == nil && n != header.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("pack %q (did it change meanwhile?): %w", e.file, err)
	}
	return nil
}

// meter passes bytes on, counts and hashes them, and refuses too many.
type meter struct {
	w     io.Writer
	hash  hash.Hash
	size  int64
	limit int64
}

func (m *meter) Write(p []byte) (int, error) {
	if m.size+int64(len(p)) > m.limit {
		return 0, tooLarge("the archive has more than %d bytes; name what is not source in .knitignore", m.limit)
	}
	n, err := m.w.Write(p)
	m.size += int64(n)
	m.hash.Write(p[:n])
	return n, err
}
