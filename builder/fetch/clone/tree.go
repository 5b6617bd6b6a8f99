package clone

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/layout"
)

// maxTarget is the longest target of a link, in bytes.
const maxTarget = 4000

// walk writes the files of one repository.
type walk struct {
	*cloner
	repository
	ctx  context.Context
	pack *pack
	root plumbing.Hash // of the repository
	// urls are the addresses of submodules by path; read when one is met.
	urls map[string]string
}

// write takes what the layout selects of a commit.
func (c *cloner) write(ctx context.Context, r repository, p *pack, commit plumbing.Hash) error {
	root, err := p.root(commit)
	if err != nil {
		return err
	}
	w := &walk{cloner: c, repository: r, ctx: ctx, pack: p, root: root}
	return w.folder(root, r.prefix)
}

// folder looks at the entries of a folder, given by its path in the first
// repository; "" is its root.
func (w *walk) folder(hash plumbing.Hash, name string) error {
	if err := w.ctx.Err(); err != nil {
		return serverError("write the files", err)
	}
	entries, err := w.pack.tree(hash)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// What is written is counted elsewhere; folders that hold nothing but
		// the same folders again could be walked for ever.
		if w.visited++; w.visited > maxObjects {
			return fmt.Errorf("%w: more than %d files and folders", archive.ErrTooLarge, maxObjects)
		}
		if err := checkName(name, e.Name); err != nil {
			return err
		}
		if err := w.entry(e, path.Join(name, e.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e object.TreeEntry, full string) error {
	name, selected, leads := w.place(full)
	switch {
	case !selected && !leads:
		return nil
	case e.Mode == filemode.Dir:
		return w.folder(e.Hash, full)
	case e.Mode == filemode.Submodule:
		return w.submodule(e.Hash, full)
	case !selected:
		return nil
	}
	switch e.Mode {
	case filemode.Regular, filemode.Deprecated, filemode.Executable:
		return w.file(e, name)
	case filemode.Symlink:
		return w.link(e, name)
	}
	return fmt.Errorf("%w: %q has the unknown mode %s", archive.ErrUnsafe, full, e.Mode)
}

// place is the path below the layout's root, and whether it is a part of the
// source or leads to one.
func (c *cloner) place(full string) (name string, selected, leads bool) {
	l := c.request.Layout
	if covered := (layout.Layout{Parts: []string{l.Root}}); !covered.Selects(full) {
		return "", false, covered.Leads(full)
	}
	name = "."
	if full != l.Root {
		name = strings.TrimPrefix(full, l.Root+"/")
	}
	if l.Root == "." {
		name = full
	}
	return name, l.Selects(name), l.Leads(name)
}

func (w *walk) file(e object.TreeEntry, name string) error {
	o, err := w.pack.get(e.Hash, plumbing.BlobObject)
	if err != nil {
		return err
	}
	r, err := o.Reader()
	if err != nil {
		return serverError("read object "+e.Hash.String(), err)
	}
	defer r.Close()
	sum := sha256.New()
	executable := e.Mode == filemode.Executable
	if err := w.out.File(name, o.Size(), executable, io.TeeReader(r, sum)); err != nil {
		return err
	}
	w.record("file %t %q %x\n", name, executable, name, sum.Sum(nil))
	return nil
}

func (w *walk) link(e object.TreeEntry, name string) error {
	target, err := w.pack.content(e.Hash, maxTarget)
	if err != nil {
		return err
	}
	if err := w.out.Link(name, string(target)); err != nil {
		return err
	}
	w.record("link %q %q\n", name, name, string(target))
	return nil
}

// record notes one file for the digest.
func (c *cloner) record(format, name string, args ...any) {
	c.sums = append(c.sums, fmt.Sprintf(format, args...))
	own := layout.Layout{Parts: []string{c.request.Layout.Function}}
	c.functionFound = c.functionFound || own.Selects(name)
}

// ignorable are characters that some disks leave out of names.
var ignorable = regexp.MustCompile(`[\x{200c}-\x{200f}\x{202a}-\x{202e}\x{206a}-\x{206f}\x{feff}]`)

// dotGit are the names that some disk takes for a repository's own folder.
var dotGit = regexp.MustCompile(`(?i)^(\.git|git~[0-9]+)[. ]*(:.*)?$`)

// checkName refuses what no git would write into a folder, and what would make
// the result a repository with settings and hooks of a stranger.
func checkName(folder, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return fmt.Errorf("%w: the folder %q has an entry with the name %q", archive.ErrUnsafe, folder, name)
	}
	if dotGit.MatchString(ignorable.ReplaceAllString(name, "")) {
		return fmt.Errorf("%w: the folder %q has the entry %q, which is for git alone", archive.ErrUnsafe, folder, name)
	}
	return nil
}

func joined(parts ...string) string { return path.Join(parts...) }
