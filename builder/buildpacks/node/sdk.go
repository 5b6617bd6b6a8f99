package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// sdkFolder is where the layer of the runtime holds Knit's SDK.
const sdkFolder = "sdk"

// linkSDK lets the function find Knit's SDK among its packages, unless it has
// installed one itself. Node resolves a link where it leads to, so the packages
// of a former image do with the SDK of this one.
func linkSDK(modules, sdk string) error {
	link := filepath.Join(modules, filepath.FromSlash(node.SDKName))
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return fmt.Errorf("link Knit's SDK: %w", err)
	}
	if err := os.Symlink(sdk, link); err != nil {
		return fmt.Errorf("link Knit's SDK: %w", err)
	}
	return nil
}
