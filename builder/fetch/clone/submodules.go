package clone

import (
	"errors"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

const (
	// modulesFile names the addresses of submodules.
	modulesFile = ".gitmodules"
	// maxModulesFile is its largest size, in bytes.
	maxModulesFile = 256 << 10
	// maxModules is how many submodules are fetched for one source.
	maxModules = 32
	// maxModulesDepth is how deep submodules may have submodules.
	maxModulesDepth = 4
)

// submodule fetches the commit of another repository into its place. Where they
// are not wanted, nothing is there.
func (w *walk) submodule(commit plumbing.Hash, full string) error {
	if !w.request.Submodules {
		return nil
	}
	if w.modules++; w.modules > maxModules || w.depth >= maxModulesDepth {
		return fmt.Errorf("%w: submodule %q: more than %d submodules, or more than %d inside of each other", ErrRefused, full, maxModules, maxModulesDepth)
	}
	if w.urls == nil {
		urls, err := w.readModules()
		if err != nil {
			return fmt.Errorf("read %s: %w", path.Join(w.prefix, modulesFile), err)
		}
		w.urls = urls
	}
	url, ok := w.urls[full]
	if !ok {
		return fmt.Errorf("%w: %s names no address for submodule %q", ErrRefused, path.Join(w.prefix, modulesFile), full)
	}
	address, err := w.address.Resolve(url)
	if err != nil {
		return fmt.Errorf("%w: submodule %q: %w", ErrRefused, full, err)
	}
	_, err = w.cloner.repository(w.ctx, repository{address: address, revision: commit.String(), prefix: full, depth: w.depth + 1})
	return err
}

// readModules returns the addresses by path in the first repository. Of the
// file's settings nothing else is read; it could name commands.
func (w *walk) readModules() (urls map[string]string, err error) {
	defer recovered(&err)
	entries, err := w.pack.tree(w.root)
	if err != nil {
		return nil, err
	}
	urls = map[string]string{}
	for _, e := range entries {
		if e.Name != modulesFile || e.Mode != filemode.Regular {
			continue
		}
		raw, err := w.pack.content(e.Hash, maxModulesFile)
		if err != nil {
			return nil, err
		}
		modules := config.NewModules()
		if err := modules.Unmarshal(raw); err != nil {
			return nil, errors.Join(ErrRefused, err)
		}
		for _, m := range modules.Submodules {
			urls[path.Join(w.prefix, m.Path)] = m.URL
		}
	}
	return urls, nil
}
