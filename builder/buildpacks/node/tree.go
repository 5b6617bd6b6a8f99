package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// moveTree copies a folder to another volume, which a rename cannot, and removes
// it. A relative link that leads out of the folder, as npm makes for packages of
// the same repository, becomes an absolute one.
func moveTree(from, to string) error {
	if err := copyTree(from, to); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

// copyTree copies folders, regular files and links; npm makes nothing else.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case entry.Type() == fs.ModeSymlink:
			return copyLink(from, name, target)
		case entry.Type().IsRegular():
			return copyFile(name, target)
		}
		return nil
	})
}

func copyLink(root, name, target string) error {
	link, err := os.Readlink(name)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(link) {
		if whole := filepath.Join(filepath.Dir(name), link); whole != root && !strings.HasPrefix(whole, root+string(filepath.Separator)) {
			link = whole
		}
	}
	return os.Symlink(link, target)
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	copied, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	_, err = io.Copy(copied, source)
	return err
}
