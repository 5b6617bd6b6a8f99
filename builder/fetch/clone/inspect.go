package clone

import (
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/knit-dev/knit/functions/api/archive"
)

const (
	// maxObjects is how many objects a server may send: the commits, folders and
	// files of a source, or of the history that it is looked for in.
	maxObjects = 400_000
	// maxMeta is the largest commit, folder or tag, in bytes.
	maxMeta = 16 << 20
	// deltaHead is how many bytes of a difference tell the sizes of what it is
	// between.
	deltaHead = 20
)

// inspect goes through a pack once without keeping anything: whoever reads it
// afterwards allocates what objects announce, and objects of a few bytes can
// announce, and become, very much.
func inspect(r io.Reader, limits archive.Limits) (err error) {
	defer recovered(&err)
	scanner := packfile.NewScanner(r)
	_, count, err := scanner.Header()
	if err != nil {
		return serverError("read the pack", err)
	}
	if count > maxObjects {
		return fmt.Errorf("%w: %d objects, at most %d are taken; name a branch or a tag, so that no history is needed", archive.ErrTooLarge, count, maxObjects)
	}
	var total int64
	for range count {
		size, err := inspectObject(scanner, limits.File)
		if err != nil {
			return err
		}
		if total += size; total > limits.Total {
			return fmt.Errorf("%w: the objects have more than %d bytes together", archive.ErrTooLarge, limits.Total)
		}
	}
	return nil
}

// inspectObject returns how large the object is, at the end.
func inspectObject(scanner *packfile.Scanner, most int64) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, serverError("read the pack", err)
	}
	switch header.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.TagObject:
		most = min(most, maxMeta)
	case plumbing.BlobObject, plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
	default:
		return 0, fmt.Errorf("%w: the pack has an object of the unknown kind %d", ErrServer, header.Type)
	}
	if header.Length < 0 || header.Length > most {
		return 0, tooLargeObject(header.Length, most)
	}
	out := &sniffer{left: header.Length}
	n, _, err := scanner.NextObject(out)
	if err == nil && n != header.Length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, serverError("read the pack", err)
	}
	if !header.Type.IsDelta() {
		return header.Length, nil
	}
	return deltaResult(out.head, most)
}

func tooLargeObject(size, most int64) error {
	return fmt.Errorf("%w: the repository has an object of %d bytes, at most %d are taken", archive.ErrTooLarge, size, most)
}

// deltaResult reads the two sizes at the head of a difference: that of its base
// and that of its result.
func deltaResult(head []byte, most int64) (int64, error) {
	var size int64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(head) == 0 || shift > 56 {
				return 0, fmt.Errorf("%w: the pack has a difference that cannot be read", ErrServer)
			}
			b := head[0]
			head = head[1:]
			size |= int64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
		if size < 0 || size > most {
			return 0, tooLargeObject(size, most)
		}
	}
	return size, nil
}

// sniffer keeps the head of what is written to it, and takes no more than was
// announced.
type sniffer struct {
	left int64
	head []byte
}

func (s *sniffer) Write(p []byte) (int, error) {
	if s.left -= int64(len(p)); s.left < 0 {
		return 0, fmt.Errorf("%w: the pack has an object that is larger than it says", ErrServer)
	}
	s.head = append(s.head, p[:min(len(p), deltaHead-len(s.head))]...)
	return len(p), nil
}
