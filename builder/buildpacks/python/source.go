package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dropUnneeded removes from the source what the function's process does not
// read: what Python compiled elsewhere, virtual environments, and wheels that
// are installed.
func dropUnneeded(root string, wanted *requirements) error {
	drop := []string{}
	if wanted != nil && wanted.wheels != "" {
		wheels, err := filepath.Glob(filepath.Join(wanted.wheels, "*.whl"))
		if err != nil {
			return fmt.Errorf("list vendored wheels: %w", err)
		}
		drop = wheels
	}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || name == root {
			return err
		}
		_, environment := os.Stat(filepath.Join(name, "pyvenv.cfg"))
		if entry.Name() == "__pycache__" || environment == nil {
			drop = append(drop, name)
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list source to drop: %w", err)
	}
	for _, name := range drop {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("drop source: %w", err)
		}
	}
	return nil
}
