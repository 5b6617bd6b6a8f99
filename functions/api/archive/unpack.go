package archive

import (
	"archive/tar"
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Unpack writes an archive into an existing empty folder. When it succeeds it has
// read r to its end, so that a reader that computes a digest has seen everything.
// What it takes is what a Writer takes.
func Unpack(r io.Reader, dir string, limits Limits) error {
	w, err := NewWriter(dir, limits)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	limited := bufio.NewReader(&limitedReader{r: r, left: limits.Compressed, what: "the archive", limit: limits.Compressed})
	uncompressed, err := gzip.NewReader(limited)
	if err != nil {
		return unpackError("read the gzip header", err)
	}
	uncompressed.Multistream(false)
	most := limits.uncompressed()
	whole := &limitedReader{r: uncompressed, left: most, what: "the uncompressed archive", limit: most}
	archive := tar.NewReader(whole)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unpackError("read the archive", err)
		}
		if err := writeHeader(w, header, archive); err != nil {
			return err
		}
	}
	return atEnd(whole, limited)
}

// headerBytes is how much of an archive an entry may take besides its content,
// on average: headers with long names, and padding.
const headerBytes = 16 << 10

// uncompressed is the most that an archive within the limits can have. Without
// it, headers that never become an entry could be read without an end.
func (l Limits) uncompressed() int64 {
	return l.Total + int64(l.Entries+1)*headerBytes + maxPadding
}

func writeHeader(w *Writer, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return w.Folder(strings.TrimSuffix(h.Name, "/"))
	case tar.TypeReg:
		return w.File(h.Name, h.Size, h.Mode&0o111 != 0, content)
	case tar.TypeSymlink:
		return w.Link(h.Name, h.Linkname)
	}
	return unsafe("%q is neither a file nor a folder nor a symbolic link (type %q)", h.Name, h.Typeflag)
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
	what        string
	left, limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge("%s has more than %d bytes", l.what, l.limit)
	}
	return n, err
}
