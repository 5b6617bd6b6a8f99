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
	"path/filepath"
	"slices"
	"strings"
)

// Info describes an archive that was packed.
type Info struct {
	// Digest of the archive, "sha256:" and 64 hexadecimal digits.
	Digest string
	// Size of the archive in bytes.
	Size int64
	// Files is how many files and links are in it.
	Files int
}

// Pack writes the archive of a folder. The same content gives the same bytes,
// on every machine and at any time.
//
// Symbolic links that stay inside of the folder are kept; others are an error,
// and so are sockets, pipes and devices. Empty folders are left out.
func Pack(dir string, w io.Writer) (Info, error) {
	return pack(dir, w, DefaultLimits())
}

// entry is one file or link to pack.
type entry struct {
	name string // slash-separated, below the folder
	file string // on disk
	info fs.FileInfo
}

func pack(dir string, w io.Writer, limits Limits) (Info, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Info{}, err
	}
	// The repository that a folder belongs to is found by its real path.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return Info{}, fmt.Errorf("read the source folder: %w", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Info{}, fmt.Errorf("the source %q is not a folder", dir)
	}
	entries, err := collect(dir, limits)
	if err != nil {
		return Info{}, err
	}
	if len(entries) == 0 {
		return Info{}, fmt.Errorf("the source folder %q has no file that .gitignore and .knitignore leave in", dir)
	}
	out := &meter{w: w, hash: sha256.New(), limit: limits.Compressed}
	if err := write(out, entries); err != nil {
		return Info{}, err
	}
	return Info{Digest: "sha256:" + hex.EncodeToString(out.hash.Sum(nil)), Size: out.size, Files: len(entries)}, nil
}

func collect(dir string, limits Limits) ([]entry, error) {
	top, err := newIgnorer(dir)
	if err != nil {
		return nil, err
	}
	c := collector{limits: limits}
	if err := c.folder(dir, nil, top); err != nil {
		return nil, err
	}
	slices.SortFunc(c.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return c.entries, nil
}

type collector struct {
	limits  Limits
	total   int64
	entries []entry
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
		if ig.skips(below, child.IsDir()) {
			continue
		}
		file := filepath.Join(dir, child.Name())
		if child.IsDir() {
			if err := checkPath(strings.Join(below, "/"), c.limits.Depth); err != nil {
				return err
			}
			if err := c.folder(file, below, ig); err != nil {
				return err
			}
			continue
		}
		if err := c.add(file, strings.Join(below, "/"), child); err != nil {
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
