package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// archiveError is a fault of the archive that was sent, not of the server.
type archiveError struct{ message string }

func (e *archiveError) Error() string { return e.message }

var gzipMagic = []byte{0x1f, 0x8b}

// verifier passes an archive on while hashing it. It holds back the last
// bytes of one whose digest is wrong, so that the receiver never has the whole.
type verifier struct {
	from   io.Reader
	digest v1.Hash
	size   int64
	named  string // who says the digest

	// The HTTP client may still be reading when the upload has already failed.
	mu   sync.Mutex
	hash hash.Hash
	seen int64
	head []byte
	err  error // why reading stopped, io.EOF aside
}

func newVerifier(from io.Reader, digest v1.Hash, size int64) *verifier {
	return &verifier{from: from, digest: digest, size: size, named: "the path", hash: sha256.New()}
}

// fault is what was wrong with the archive, nil when nothing was found so far.
func (v *verifier) fault() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

func (v *verifier) Read(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return 0, v.err
	}
	if v.seen == v.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), v.size-v.seen)]
	n, err := v.from.Read(p)
	v.hash.Write(p[:n])
	v.seen += int64(n)
	if missing := len(gzipMagic) - len(v.head); missing > 0 {
		v.head = append(v.head, p[:min(n, missing)]...)
	}
	if v.err = v.check(err); v.err != nil {
		return 0, v.err
	}
	return n, nil
}

// check judges what was read so far; err is what the sender's side returned.
func (v *verifier) check(err error) error {
	if !bytes.HasPrefix(gzipMagic, v.head) {
		return &archiveError{"the body is not gzip; send a gzip-compressed tar archive"}
	}
	if v.seen < v.size {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return &archiveError{fmt.Sprintf("the body ended after %d of %d bytes (%v); send it again", v.seen, v.size, err)}
		}
		return nil
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.digest.Hex {
		return &archiveError{fmt.Sprintf("the body's digest is sha256:%s, not %s as %s says; pack the source again and use the digest of what is sent", got, v.digest, v.named)}
	}
	return nil
}
