package archive

import (
	"archive/tar"
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Unpack writes an archive into an existing empty folder. When it succeeds it has
// read r to its end, so that a reader that computes a digest has seen everything.
//
// Only files, folders and symbolic links that stay inside are taken, each path
// once and none below a link. All writing goes through os.Root, so that even a
// mistake in the checks cannot leave the folder. After an error the folder holds
// a part of the archive; the caller throws it away.
func Unpack(r io.Reader, dir string, limits Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	limited := bufio.NewReader(&limitedReader{r: r, left: limits.Compressed, limit: limits.Compressed})
	uncompressed, err := gzip.NewReader(limited)
	if err != nil {
		return unpackError("read the gzip header", err)
	}
	uncompressed.Multistream(false)
	u := unpacker{root: root, limits: limits, seen: map[string]byte{}}
	archive := tar.NewReader(uncompressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unpackError("read the archive", err)
		}
		if err := u.entry(header, archive); err != nil {
			return err
		}
	}
	return atEnd(uncompressed, limited)
}

// maxPadding is how many zero bytes may follow the end of a tar; writers fill
// up their last block.
const maxPadding = 1 << 20

// atEnd checks that nothing follows: hidden content would be part of the digest
// and of nothing else.
func atEnd(tarRest, gzipRest io.Reader) error {
	buffer := make([]byte, 4096)
	for total := 0; ; {
		n, err := tarRest.Read(buffer)
		for _, b := range buffer[:n] {
			if b != 0 {
				return unsafe("there is data after the end of the archive")
			}
		}
		if total += n; total > maxPadding {
			return unsafe("there are more than %d bytes after the end of the archive", maxPadding)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unpackError("read the archive", err)
		}
	}
	switch n, err := gzipRest.Read(buffer[:1]); {
	case n > 0:
		return unsafe("there is data after the end of the gzip stream")
	case err != nil && !errors.Is(err, io.EOF):
		return unpackError("read the archive", err)
	}
	return nil
}

type unpacker struct {
	root   *os.Root
	limits Limits
	total  int64
	// seen holds the type of every path that was written, parents included.
	seen map[string]byte
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	if err := checkPath(name, u.limits.Depth); err != nil {
		return err
	}
	if err := u.parents(name); err != nil {
		return err
	}
	if kind, ok := u.seen[name]; ok && (kind != tar.TypeDir || h.Typeflag != tar.TypeDir) {
		return unsafe("the path %q is there twice", name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(name)
	case tar.TypeReg:
		return u.file(name, h, content)
	case tar.TypeSymlink:
		return u.link(name, h.Linkname)
	}
	return unsafe("%q is neither a file nor a folder nor a symbolic link (type %q)", name, h.Typeflag)
}

// parents makes the folders above a path; none of them may be something else.
func (u *unpacker) parents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if kind, ok := u.seen[parent]; ok {
		if kind != tar.TypeDir {
			return unsafe("the path %q is below %q, which is not a folder", name, parent)
		}
		return nil
	}
	if err := u.parents(parent); err != nil {
		return err
	}
	return u.folder(parent)
}

func (u *unpacker) record(name string, kind byte) error {
	if len(u.seen) >= u.limits.Entries {
		return tooLarge("more than %d files and folders", u.limits.Entries)
	}
	u.seen[name] = kind
	return nil
}

func (u *unpacker) folder(name string) error {
	if _, ok := u.seen[name]; ok {
		return nil
	}
	if err := u.record(name, tar.TypeDir); err != nil {
		return err
	}
	return u.root.Mkdir(name, 0o755)
}

func (u *unpacker) link(name, target string) error {
	if err := checkLink(name, target); err != nil {
		return err
	}
	if err := u.record(name, tar.TypeSymlink); err != nil {
		return err
	}
	return u.root.Symlink(target, name)
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	if h.Size > u.limits.File {
		return tooLarge("%q has %d bytes, a file may have %d", name, h.Size, u.limits.File)
	}
	if u.total += h.Size; u.total > u.limits.Total {
		return tooLarge("the files have more than %d bytes together", u.limits.Total)
	}
	if err := u.record(name, tar.TypeReg); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, h.Size+1))
	if err == nil && n != h.Size {
		err = io.ErrUnexpectedEOF
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return unpackError(fmt.Sprintf("write %q", name), err)
	}
	return nil
}

// unpackError says what was done; a broken archive counts as an unsafe one, so
// that a caller can tell the sender's fault from its own.
func unpackError(what string, err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("%s: %w", what, err)
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, tar.ErrHeader),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return unsafe("%s: %v", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

type limitedReader struct {
	r           io.Reader
	left, limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge("the archive has more than %d bytes", l.limit)
	}
	return n, err
}
