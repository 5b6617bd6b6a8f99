package images

import (
	"context"
	"fmt"
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
