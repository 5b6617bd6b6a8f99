package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxNames bounds the names of all entries together, in bytes: they are kept in
// memory, and a compressed archive can hold very long ones cheaply.
const maxNames = 16 << 20

// Writer writes the entries of a source that a stranger made into an existing
// empty folder. It takes files, folders and symbolic links that stay inside,
// each path once, none below a link, and none that differs from another only in
// case or in its Unicode form: on another disk the one would replace the other.
//
// All writing goes through os.Root, so that even a mistake in the checks cannot
// leave the folder. After an error the folder holds a part of the source; the
// caller throws it away.
type Writer struct {
	root   *os.Root
	limits Limits
	total  int64
	names  int
	// seen holds the type of every path that was written, parents included;
	// folded holds the same paths by what a forgiving disk takes them for.
	seen   map[string]byte
	folded map[string]string
}

// NewWriter opens the folder.
func NewWriter(dir string, limits Limits) (*Writer, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Writer{root: root, limits: limits, seen: map[string]byte{}, folded: map[string]string{}}, nil
}

// Close lets the folder go.
func (w *Writer) Close() error { return w.root.Close() }

// Folder makes a folder and those above it. One that is there already stays.
func (w *Writer) Folder(name string) error {
	if err := w.place(name, tar.TypeDir); err != nil {
		return err
	}
	return w.folder(name)
}

// Link makes a symbolic link.
func (w *Writer) Link(name, target string) error {
	if err := w.place(name, tar.TypeSymlink); err != nil {
		return err
	}
	if err := checkLink(name, target); err != nil {
		return err
	}
	if err := w.record(name, tar.TypeSymlink); err != nil {
		return err
	}
	return w.root.Symlink(target, name)
}

// File writes a file of exactly the given size, in bytes.
func (w *Writer) File(name string, size int64, executable bool, content io.Reader) error {
	if err := w.place(name, tar.TypeReg); err != nil {
		return err
	}
	if size < 0 || size > w.limits.File {
		return tooLarge("%q has %d bytes, a file may have %d", name, size, w.limits.File)
	}
	if w.total += size; w.total > w.limits.Total {
		return tooLarge("the files have more than %d bytes together", w.limits.Total)
	}
	if err := w.record(name, tar.TypeReg); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	// One byte more than announced shows a file that goes on.
	n, err := io.Copy(f, io.LimitReader(content, size+1))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return unpackError(fmt.Sprintf("write %q", name), err)
	}
	return nil
}

// place checks a path and makes the folders above it.
func (w *Writer) place(name string, kind byte) error {
	if err := checkPath(name, w.limits.Depth); err != nil {
		return err
	}
	if err := w.parents(name); err != nil {
		return err
	}
	if before, ok := w.seen[name]; ok && (before != tar.TypeDir || kind != tar.TypeDir) {
		return unsafe("the path %q is there twice", name)
	}
	return nil
}

// parents makes the folders above a path; none of them may be something else.
func (w *Writer) parents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if kind, ok := w.seen[parent]; ok {
		if kind != tar.TypeDir {
			return unsafe("the path %q is below %q, which is not a folder", name, parent)
		}
		return nil
	}
	if err := w.parents(parent); err != nil {
		return err
	}
	return w.folder(parent)
}

func (w *Writer) folder(name string) error {
	if _, ok := w.seen[name]; ok {
		return nil
	}
	if err := w.record(name, tar.TypeDir); err != nil {
		return err
	}
	return w.root.Mkdir(name, 0o755)
}

func (w *Writer) record(name string, kind byte) error {
	if len(w.seen) >= w.limits.Entries {
		return tooLarge("more than %d files and folders", w.limits.Entries)
	}
	if w.names += len(name); w.names > maxNames {
		return tooLarge("the names of the files and folders have more than %d bytes together", maxNames)
	}
	if err := distinct(w.folded, name); err != nil {
		return err
	}
	w.seen[name] = kind
	return nil
}

// distinct notes a path and refuses one that a disk could take for another.
func distinct(folded map[string]string, name string) error {
	key := fold(name)
	if other, ok := folded[key]; ok && other != name {
		return unsafe("the paths %q and %q differ only in case or in their Unicode form; rename one of them", other, name)
	}
	folded[key] = name
	return nil
}

// fold is the same for all names that a disk could take for one: those of other
// case, and those whose accents are written otherwise.
func fold(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && name[i] < 0x80
	}
	if plain {
		return strings.ToLower(name)
	}
	return norm.NFC.String(strings.Map(smallest, norm.NFD.String(name)))
}

// smallest is the smallest rune that differs from r only in case.
func smallest(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return unicode.ToLower(least)
}
