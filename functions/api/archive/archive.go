// Package archive turns a folder into a source archive and back.
//
// A source archive is a gzip'd tar whose digest depends on the content of the
// folder alone: files are sorted, times and owners are left out, modes are 0644
// or 0755, and what .gitignore and .knitignore name is not in it. The command
// line packs; the function service stores; the build pod unpacks.
//
// Whoever unpacks an archive got it from a stranger, so Unpack checks every
// entry before it writes a byte for it. The package knows no network.
package archive

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// MediaType is the type of the archive as a layer of an OCI artifact.
const MediaType = "application/vnd.knit.source.v1.tar+gzip"

// CauseOffset is the type of the cause, in an error of the function service, that
// says after how many bytes an upload of an archive goes on.
const CauseOffset = "UploadOffset"

// Limits bound an archive. The zero value of a field allows nothing.
type Limits struct {
	// Compressed is the largest archive, in bytes.
	Compressed int64
	// Total is the largest sum of all files, in bytes.
	Total int64
	// File is the largest file, in bytes.
	File int64
	// Entries is the largest number of files, folders and links.
	Entries int
	// Depth is the largest number of parts of a path.
	Depth int
}

// DefaultLimits are those of the platform. The function service refuses a
// larger upload than Compressed.
func DefaultLimits() Limits {
	return Limits{Compressed: 256 << 20, Total: 1 << 30, File: 512 << 20, Entries: 50_000, Depth: 64}
}

// maxPath is the longest path in bytes, maxName that of one of its parts; both
// are what Linux takes.
const (
	maxPath = 4000
	maxName = 255
)

// ErrTooLarge is in the chain of every error about a limit.
var ErrTooLarge = errors.New("the source is larger than the platform takes")

// ErrUnsafe is in the chain of every error about an entry that an archive must
// not have.
var ErrUnsafe = errors.New("not a safe source archive")

func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrTooLarge}, args...)...)
}

func unsafe(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsafe}, args...)...)
}

// checkPath says whether a slash-separated path may stand in an archive: clean,
// relative, without "..", and short enough.
func checkPath(name string, depth int) error {
	if name == "" || name == "." || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") {
		return unsafe("the path %q is not clean and relative", name)
	}
	if strings.ContainsAny(name, "\x00\\") || !utf8.ValidString(name) {
		return unsafe("the path %q has a NUL or a backslash, or is not UTF-8", name)
	}
	if len(name) > maxPath {
		return unsafe("a path of %d bytes is longer than %d", len(name), maxPath)
	}
	parts := strings.Split(name, "/")
	if len(parts) > depth {
		return tooLarge("%q is more than %d folders deep", name, depth)
	}
	for _, part := range parts {
		if len(part) > maxName {
			return unsafe("the name %.20q… is longer than %d bytes", part, maxName)
		}
	}
	return nil
}

// checkLink says whether a symbolic link at name may point to target. It must
// stay inside of the folder whatever other links there are: some steps up, not
// beyond the top, and then only down. A target such as "a/../b" is refused,
// because "a" could be a link itself and its ".." is then somewhere else.
func checkLink(name, target string) error {
	if target == "" || path.IsAbs(target) || strings.ContainsAny(target, "\x00\\") || len(target) > maxPath {
		return unsafe("the link %q points to %q, not to a relative path", name, target)
	}
	up, down := 0, false
	for _, part := range strings.Split(target, "/") {
		switch {
		case part == "" || part == ".":
		case part == ".." && down:
			return unsafe("the link %q points to %q, which goes down and up again", name, target)
		case part == "..":
			up++
		case len(part) > maxName:
			return unsafe("the link %q has a name longer than %d bytes", name, maxName)
		default:
			down = true
		}
	}
	if up > strings.Count(name, "/") {
		return unsafe("the link %q points to %q, outside of the folder", name, target)
	}
	return nil
}
