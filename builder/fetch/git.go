package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/knit-dev/knit/builder/fetch/clone"
	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/layout"
)

// gitFlags are the arguments of a source in a git repository.
type gitFlags struct {
	url, revision, path, login string
	hosts, ranges              string
	include                    list
	submodules                 bool
}

// list is a flag that may be given often.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func (g *gitFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&g.url, "git-url", "", "the git repository, in place of -source")
	flags.StringVar(&g.revision, "git-revision", "", "branch, tag or full commit; the default branch when empty")
	flags.StringVar(&g.path, "git-path", "", "the function's folder in the repository")
	flags.Var(&g.include, "git-include", "a path of the repository that the folder needs; may be given often")
	flags.BoolVar(&g.submodules, "git-submodules", false, "fetch the submodules, too")
	flags.StringVar(&g.login, "git-login", "", "a folder with the login, in the files of a Secret")
	flags.StringVar(&g.hosts, "git-allowed-hosts", "", "the only hosts to fetch from, separated by commas; any when empty")
	flags.StringVar(&g.ranges, "git-allowed-cidrs", "", "address ranges that are not public and allowed, separated by commas")
}

// fetchGit clones into dir and returns the outcome as JSON.
func fetchGit(ctx context.Context, g gitFlags, stdout io.Writer, dir string) (string, error) {
	request, err := g.request()
	if err != nil {
		return "", err
	}
	result, err := clone.Clone(ctx, request, dir)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(stdout, "fetched commit %s of %s: %d files, %d bytes received\n", result.Commit, request.Address, result.Files, result.Received)
	message, err := json.Marshal(gitsource.Outcome{Revision: result.Commit, Digest: result.Digest})
	return string(message), err
}

func (g *gitFlags) request() (clone.Request, error) {
	r := clone.Request{Revision: g.revision, Submodules: g.submodules, Limits: archive.DefaultLimits(), Scratch: os.TempDir()}
	var err, policyErr, layoutErr error
	r.Address, err = gitsource.Parse(g.url)
	r.Policy, policyErr = gitsource.ParsePolicy(g.hosts, g.ranges)
	r.Layout, layoutErr = layout.New(g.path, g.include)
	if err := errors.Join(err, policyErr, layoutErr); err != nil {
		return r, &sourceError{err}
	}
	if g.login != "" {
		if r.Login, err = clone.ReadLogin(g.login); err != nil {
			return r, err
		}
	}
	return r, nil
}
