package clone

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// selection is what to ask a server for.
type selection struct {
	// objects to ask for.
	objects []plumbing.Hash
	// commit to take, or a tag that leads to it.
	commit plumbing.Hash
	// history says that the commit must be looked for in the history of the
	// objects, because the server gives only branches and tags.
	history bool
}

var (
	fullHash   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	longHash   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	prefixHash = regexp.MustCompile(`^[0-9a-f]{4,39}$`)
)

// choose finds a revision among what a server has. As with git clone, a branch
// comes before a tag of the same name.
func choose(refs *packp.AdvRefs, revision string) (selection, error) {
	switch {
	case revision == "" && refs.Head == nil:
		return selection{}, fmt.Errorf("%w: the repository has no default branch; name one in git.revision", ErrRefused)
	case revision == "":
		return one(*refs.Head), nil
	case longHash.MatchString(revision):
		return selection{}, fmt.Errorf("%w: revision %s is a SHA-256 hash; such repositories are not supported", ErrRefused, revision)
	case fullHash.MatchString(revision):
		return chooseCommit(refs, plumbing.NewHash(revision))
	}
	for _, name := range []string{"refs/heads/" + revision, "refs/tags/" + revision} {
		if hash, ok := refs.References[name]; ok {
			return one(hash), nil
		}
	}
	if hash, ok := refs.References[revision]; ok && strings.HasPrefix(revision, "refs/") {
		return one(hash), nil
	}
	if prefixHash.MatchString(revision) {
		return selection{}, fmt.Errorf("%w: revision %q is no branch and no tag; a commit needs all of its 40 digits", ErrRefused, revision)
	}
	return selection{}, fmt.Errorf("%w: revision %q is no branch, no tag and no full commit%s", ErrRefused, revision, branches(refs))
}

func one(hash plumbing.Hash) selection {
	return selection{objects: []plumbing.Hash{hash}, commit: hash}
}

// chooseCommit prefers what any server gives: the tip of a branch or a tag.
func chooseCommit(refs *packp.AdvRefs, commit plumbing.Hash) (selection, error) {
	if refs.Head != nil && *refs.Head == commit {
		return one(commit), nil
	}
	var tips []plumbing.Hash
	for _, name := range slices.Sorted(maps.Keys(refs.References)) {
		hash := refs.References[name]
		if hash == commit || refs.Peeled[name] == commit {
			return selection{objects: []plumbing.Hash{hash}, commit: commit}, nil
		}
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			tips = append(tips, hash)
		}
	}
	if refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) {
		return one(commit), nil
	}
	slices.SortFunc(tips, func(a, b plumbing.Hash) int { return strings.Compare(a.String(), b.String()) })
	return selection{objects: slices.Compact(tips), commit: commit, history: true}, nil
}

// branches tells some names, for who has mistyped one.
func branches(refs *packp.AdvRefs) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(refs.References)) {
		if short, ok := strings.CutPrefix(name, "refs/heads/"); ok && len(names) < 10 {
			names = append(names, fmt.Sprintf("%.60q", short))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; there are the branches " + strings.Join(names, ", ")
}
