package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// check refuses a function that could not be loaded for its syntax. It is not
// loaded for that: what it does when it is, such as to open connections, belongs
// into its pod.
func check(ctx context.Context, p project) error {
	if !isFile(filepath.Join(p.folder, filepath.FromSlash(p.function.Entry))) {
		return fmt.Errorf("the \"build\" script has left no file %s, which is %s", p.function.Entry, p.function.EntryFrom)
	}
	cmd := exec.CommandContext(ctx, nodeCommand, "--disable-warning=ExperimentalWarning", "--experimental-vm-modules", "-", p.function.Entry)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.folder, node.Checker(), os.Stdout, os.Stderr
	// Settings for the build's other programs, such as modules to load first,
	// are not for this one.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return errors.New("the function cannot be loaded; the message above has file and line")
	}
	if err != nil {
		return fmt.Errorf("check the function: %w", err)
	}
	return nil
}
