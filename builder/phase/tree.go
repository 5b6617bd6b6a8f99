package phase

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// limits are the most that export may have to pack.
type limits struct {
	bytes int64
	files int
}

// measure adds up what export will read. It counts the length of files, not
// the blocks that they take: a file with holes, or a file under many names, is
// short on disk and long in an image.
func (l limits) measure(roots ...string) error {
	var bytes int64
	files := 0
	for _, root := range roots {
		if root == "" {
			continue
		}
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return unreadable(err)
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			files++
			if info.Mode().IsRegular() {
				bytes += info.Size()
			}
			if files > l.files {
				return refuse("the build left more than the %d files and folders that an image may be made of", l.files)
			}
			if bytes > l.bytes {
				return refuse("the build left files of more than %d MiB in all, up to %s; an image may not be made of more", l.bytes>>20, path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errRefused) {
			return fmt.Errorf("look through %s: %w", root, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainTree refuses everything below a folder but files and folders. A folder
// that is not there is fine.
func plainTree(root string) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return unreadable(err)
		}
		return plain(path, entry.Type())
	})
	return ignoreMissing(err)
}

// plainFolder refuses a folder that is a link, and links right in it.
func plainFolder(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	if !info.IsDir() {
		return refuse("%s is no folder", dir)
	}
	entries, err := readFolder(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := plain(filepath.Join(dir, entry.Name()), entry.Type()); err != nil {
			return err
		}
	}
	return nil
}

func plain(path string, mode fs.FileMode) error {
	if mode.IsRegular() || mode.IsDir() {
		return nil
	}
	if mode&fs.ModeSymlink != 0 {
		return refuse("%s is a symbolic link; a buildpack must write a file or a folder there", path)
	}
	return refuse("%s is neither a file nor a folder", path)
}

// readFolder lists a folder; one that is not there is empty.
func readFolder(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("look into %s: %w", dir, err)
	}
	return entries, nil
}

// unreadable blames the build for a folder that it locked: all phases are the
// same user.
func unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return refuse("%v", err)
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
