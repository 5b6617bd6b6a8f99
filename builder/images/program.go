package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Program links one main package of the module in dir, with the flags that all
// of Knit's programs are built with, into the file to.
func Program(ctx context.Context, dir, pkg, to string) error {
	f, err := openFolder(ctx, dir)
	if err != nil {
		return err
	}
	if _, err := f.goTool(ctx, "build", "-ldflags", ldFlags, "-o", to, pkg); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// WithProgram adds a Go program to an image, under the path to.
func WithProgram(ctx context.Context, c *Cache, img v1.Image, module, pkg, to string) (v1.Image, error) {
	dir, err := c.tempDir("program-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "program")
	if err := Program(ctx, module, pkg, program); err != nil {
		return nil, err
	}
	sum, err := hashFile(program)
	if err != nil {
		return nil, err
	}
	layer, err := c.layer(ctx, "program/1 "+to+" "+sum, gzipped, func(w *layerWriter) error { return w.diskFile(to, 0o755, program) })
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	return assemble(img, file.Config, layer)
}
