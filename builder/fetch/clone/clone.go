// Package clone takes the files of one commit out of a git repository. The
// fetch program calls it, in the build pod.
//
// It speaks git's protocol itself, over HTTPS or SSH, and writes files itself:
// there is no checkout, no hook, no filter, no configuration and no program that
// a repository could bring along. Whatever a server sends is bounded and checked
// before it is used, and every connection goes through one dialer that looks at
// the address that is really dialled. It never talks to the cluster.
package clone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/layout"
)

// ErrRefused is in the chain of errors about an address that the platform does
// not go to, and about a revision or path that is not there: the author of the
// Function must change it.
var ErrRefused = errors.New("refused")

// ErrServer is in the chain of errors about a server that did not give what it
// was asked for.
var ErrServer = errors.New("the git server did not give the source")

// maxFile is the largest file of a repository, in bytes. It is less than that of
// an archive, because an object is rebuilt from differences in memory.
const maxFile = 128 << 20

// Request says what to fetch.
type Request struct {
	Address gitsource.Address
	// Revision is a branch, a tag or a full commit; the default branch when empty.
	Revision string
	// Layout says which part of the tree is taken.
	Layout layout.Layout
	// Submodules fetches them, too.
	Submodules bool
	// Policy is what the platform allows.
	Policy gitsource.Policy
	// Login is nil for repositories that everybody may read.
	Login *Login
	// Limits bound what is written; Compressed bounds what is received.
	Limits archive.Limits
	// Scratch is a folder for what is received, in which nothing is left.
	Scratch string
}

// Result says what was fetched.
type Result struct {
	// Commit is the full hash of the commit.
	Commit string
	// Digest is "sha256:" and 64 hexadecimal digits, computed over the names,
	// modes and contents of all files: the same files have the same digest,
	// whatever commit they come from.
	Digest string
	// Files is how many files and links were written.
	Files int
	// Received is how many bytes the servers sent.
	Received int64
}

// Clone writes the files of a commit into an existing empty folder. After an
// error the folder holds a part of them; the caller throws it away.
func Clone(ctx context.Context, r Request, dir string) (Result, error) {
	r.Limits.File = min(r.Limits.File, maxFile)
	out, err := archive.NewWriter(dir, r.Limits)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = out.Close() }()
	scratch, err := os.MkdirTemp(r.Scratch, "clone-")
	if err != nil {
		return Result{}, fmt.Errorf("make a folder for what is received: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	c := &cloner{request: r, out: out, scratch: scratch, dialer: newDialer(r.Policy, r.Limits.Compressed)}
	commit, err := c.repository(ctx, repository{address: r.Address, revision: r.Revision})
	if err != nil && ctx.Err() != nil {
		// A transfer that the deadline cut looks like a server that sent too little.
		return Result{}, fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	if err != nil {
		return Result{}, err
	}
	if len(c.sums) == 0 {
		return Result{}, fmt.Errorf("%w: commit %s has no file below %s; check git.path", ErrRefused, commit, quotedParts(r.Layout))
	}
	if !c.functionFound {
		return Result{}, fmt.Errorf("%w: commit %s has no folder %q; check git.path", ErrRefused, commit, joined(r.Layout.Root, r.Layout.Function))
	}
	return Result{Commit: commit.String(), Digest: c.digest(), Files: len(c.sums), Received: c.dialer.received.Load()}, nil
}

func quotedParts(l layout.Layout) string {
	names := make([]string, 0, len(l.Parts))
	for _, part := range l.Parts {
		names = append(names, fmt.Sprintf("%q", joined(l.Root, part)))
	}
	return strings.Join(names, ", ")
}

// cloner is one run: a repository and its submodules.
type cloner struct {
	request Request
	out     *archive.Writer
	scratch string
	dialer  *dialer

	visited       int      // entries of trees that were looked at
	modules       int      // submodules that were begun
	sums          []string // one line for each file and link
	functionFound bool     // something of the function's own folder was written
}

// repository is one of them.
type repository struct {
	address  gitsource.Address
	revision string
	prefix   string // where its root is, relative to the root of the first one
	depth    int    // of submodules in submodules
}

func (c *cloner) repository(ctx context.Context, r repository) (plumbing.Hash, error) {
	commit, err := c.fetch(ctx, r)
	if err != nil && r.depth > 0 {
		return commit, fmt.Errorf("fetch submodule %q: %w", r.prefix, err)
	}
	return commit, err
}

func (c *cloner) fetch(ctx context.Context, r repository) (plumbing.Hash, error) {
	if err := c.request.Policy.Check(r.address); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("%w: %s: %w", ErrRefused, r.address, err)
	}
	pack, commit, err := c.receive(ctx, r)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("fetch %s: %w", r.address, err)
	}
	defer pack.close()
	if err := c.write(ctx, r, pack, commit); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("commit %s of %s: %w", commit, r.address, err)
	}
	return commit, nil
}

// receive asks the server what it has, and for the one commit.
func (c *cloner) receive(ctx context.Context, r repository) (*pack, plumbing.Hash, error) {
	s, err := c.connect(ctx, r.address)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	defer s.Close()
	refs, err := readRefs(ctx, s)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	wanted, err := choose(refs, r.revision)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	pack, err := c.ask(ctx, s, refs.Capabilities, wanted)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	commit, err := pack.peel(wanted.commit)
	if err != nil {
		pack.close()
		return nil, plumbing.ZeroHash, err
	}
	return pack, commit, nil
}

// connect begins a conversation, with the login when it is for this server.
func (c *cloner) connect(ctx context.Context, a gitsource.Address) (session, error) {
	login := c.request.Login
	if a.Scheme == gitsource.SSH {
		return dialSSH(ctx, c.dialer, a, login)
	}
	return newHTTPS(c.dialer, a, login)
}

func (c *cloner) digest() string {
	slices.Sort(c.sums)
	sum := sha256.Sum256([]byte(strings.Join(c.sums, "")))
	return "sha256:" + hex.EncodeToString(sum[:])
}
