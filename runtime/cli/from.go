package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// The most that a project may hold to be copied.
const (
	maxFiles = 10_000
	maxBytes = 100 << 20
)

// manifestName is the file that makes a folder a project.
const manifestName = "knit.yaml"

// copyProject takes a project as it is from a folder or a repository.
func (b *beginning) copyProject(ctx context.Context) error {
	source := b.from
	if remote(source) {
		dir, err := os.MkdirTemp("", "knit-init-")
		if err != nil {
			return fmt.Errorf("make a folder for the clone: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := clone(ctx, source, dir); err != nil {
			return err
		}
		source = dir
	}
	files, err := readProject(source)
	if err != nil {
		return err
	}
	if _, ok := files[manifestName]; !ok {
		return cmdline.Advise(fmt.Errorf("%s holds no %s", b.from, manifestName), "name the folder of a project")
	}
	return b.write(files)
}

func remote(source string) bool {
	return strings.Contains(source, "://") || strings.HasPrefix(source, "git@")
}

// clone fetches one revision without its history. The person's own git
// credentials do not take part: a template is public, or cloned beforehand.
func clone(ctx context.Context, source, dir string) error {
	url, revision, _ := strings.Cut(source, "#")
	names := []plumbing.ReferenceName{""}
	if revision != "" {
		names = []plumbing.ReferenceName{plumbing.NewBranchReferenceName(revision), plumbing.NewTagReferenceName(revision)}
	}
	var err error
	for _, name := range names {
		_, err = git.PlainCloneContext(ctx, dir, false, &git.CloneOptions{URL: url, ReferenceName: name, SingleBranch: true, Depth: 1, Tags: git.NoTags})
		if err == nil {
			return nil
		}
	}
	return cmdline.Advise(fmt.Errorf("clone %s: %w", source, err), "clone it with git and use --from FOLDER")
}

// readProject reads regular files; links and git's own folder stay behind.
func readProject(dir string) (map[string][]byte, error) {
	files, size := map[string][]byte{}, int64(0)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if size += int64(len(content)); len(files) >= maxFiles || size > maxBytes {
			return fmt.Errorf("%s has more than %d files or %s; it is no project to start from", dir, maxFiles, cmdline.Bytes(maxBytes))
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(relative)] = content
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the project: %w", err)
	}
	return files, nil
}

// refuse names the files that would be overwritten.
func (b *beginning) refuse(taken []string) error {
	slices.Sort(taken)
	shown := taken
	if len(shown) > 5 {
		shown = append(slices.Clone(shown[:5]), "…")
	}
	return cmdline.Advise(fmt.Errorf("%s has %s already", b.folder, strings.Join(shown, ", ")),
		"choose another folder, or remove these files")
}
