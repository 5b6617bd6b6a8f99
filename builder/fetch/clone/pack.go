package clone

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// cacheBytes is how much of what objects are rebuilt from is kept in memory.
const cacheBytes = 32 << 20

// maxTags is how many tags may point to each other before the commit.
const maxTags = 8

// pack is what a server sent, on disk.
type pack struct {
	files   billy.Filesystem
	file    billy.File
	objects *packfile.Packfile
}

// store receives a pack, checks it and makes its objects findable.
func (c *cloner) store(stream io.Reader) (*pack, error) {
	p := &pack{files: osfs.New(c.scratch)}
	var err error
	if p.file, err = p.files.TempFile("", "pack-"); err != nil {
		return nil, fmt.Errorf("keep what the server sends: %w", err)
	}
	if err := p.fill(c, stream); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pack) fill(c *cloner, stream io.Reader) error {
	// A failure to write is the disk's, all others are the server's.
	if _, err := io.Copy(p.file, serverReader{stream}); err != nil {
		return fmt.Errorf("receive the source: %w", err)
	}
	if err := p.rewind(); err != nil {
		return err
	}
	if err := inspect(p.file, c.request.Limits); err != nil {
		return err
	}
	if err := p.rewind(); err != nil {
		return err
	}
	index, err := makeIndex(p.file)
	if err != nil {
		return err
	}
	p.objects = packfile.NewPackfileWithCache(index, nil, p.file, cache.NewObjectLRU(cacheBytes), 0)
	return nil
}

// serverReader marks the errors of a stream as the server's.
type serverReader struct{ io.Reader }

func (r serverReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = serverError("receive the source", err)
	}
	return n, err
}

func makeIndex(file io.ReadSeeker) (_ idxfile.Index, err error) {
	defer recovered(&err)
	writer := &idxfile.Writer{}
	parser, err := packfile.NewParser(packfile.NewScanner(file), writer)
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(); err != nil {
		return nil, serverError("read the pack", err)
	}
	index, err := writer.Index()
	if err != nil {
		return nil, serverError("read the pack", err)
	}
	return index, nil
}

func (p *pack) rewind() error {
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// close removes the file.
func (p *pack) close() {
	_ = p.file.Close()
	_ = p.files.Remove(filepath.Base(p.file.Name()))
}

// get returns an object of a kind.
func (p *pack) get(hash plumbing.Hash, kind plumbing.ObjectType) (o plumbing.EncodedObject, err error) {
	defer recovered(&err)
	o, err = p.objects.Get(hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrServer, kind, hash, err)
	}
	if kind != plumbing.AnyObject && o.Type() != kind {
		return nil, fmt.Errorf("%w: object %s is a %s and not a %s", ErrServer, hash, o.Type(), kind)
	}
	return o, nil
}

// peel follows tags to the commit that they name.
func (p *pack) peel(hash plumbing.Hash) (plumbing.Hash, error) {
	for range maxTags {
		o, err := p.get(hash, plumbing.AnyObject)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return hash, fmt.Errorf("%w: commit %s is in no branch and no tag", ErrRefused, hash)
		}
		if err != nil {
			return hash, err
		}
		switch o.Type() {
		case plumbing.CommitObject:
			return hash, nil
		case plumbing.TagObject:
			var tag object.Tag
			if err := tag.Decode(o); err != nil {
				return hash, serverError("read tag "+hash.String(), err)
			}
			hash = tag.Target
		default:
			return hash, fmt.Errorf("%w: %s is a %s and no commit", ErrRefused, hash, o.Type())
		}
	}
	return hash, fmt.Errorf("%w: the tag leads to no commit", ErrServer)
}

// tree reads the entries of a folder.
func (p *pack) tree(hash plumbing.Hash) (entries []object.TreeEntry, err error) {
	defer recovered(&err)
	o, err := p.get(hash, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}
	var t object.Tree
	if err := t.Decode(o); err != nil {
		return nil, serverError("read tree "+hash.String(), err)
	}
	return t.Entries, nil
}

// root is the folder of a commit.
func (p *pack) root(commit plumbing.Hash) (_ plumbing.Hash, err error) {
	defer recovered(&err)
	o, err := p.get(commit, plumbing.CommitObject)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var c object.Commit
	if err := c.Decode(o); err != nil {
		return plumbing.ZeroHash, serverError("read commit "+commit.String(), err)
	}
	return c.TreeHash, nil
}

// content reads a file that is small, such as the target of a link.
func (p *pack) content(hash plumbing.Hash, most int64) ([]byte, error) {
	o, err := p.get(hash, plumbing.BlobObject)
	if err != nil {
		return nil, err
	}
	if o.Size() > most {
		return nil, tooLargeObject(o.Size(), most)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, serverError("read object "+hash.String(), err)
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil {
		return nil, serverError("read object "+hash.String(), err)
	}
	return raw, nil
}
