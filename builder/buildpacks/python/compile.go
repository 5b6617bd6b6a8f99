package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// compiler is a Python program: it compiles the modules of a folder, and tells
// an entry's own syntax errors from those of files that it never imports.
//
//go:embed compile.py
var compiler string

// compileFolder writes the .pyc files of all modules below dir. A module that
// does not compile is left to Python, which says so when it is imported:
// packages ship files for other versions.
func compileFolder(ctx context.Context, dir string) error {
	_, err := runCompiler(ctx, dir)
	return err
}

// compileSource does the same for the user's source, where a syntax error in a
// file that the entry imports is an error with file and line.
func compileSource(ctx context.Context, root, folder, entry string) error {
	report, err := runCompiler(ctx, root, folder, entry)
	if report != "" {
		return fmt.Errorf("the Python function does not compile:\n%s", report)
	}
	return err
}

// runCompiler returns what the compiler reported as errors of the entry.
func runCompiler(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, interpreter, append([]string{"-I", "-S", "-c", compiler}, args...)...)
	// The order of hashed sets must not reach the files.
	cmd.Env = append(os.Environ(), "PYTHONHASHSEED=0")
	var report, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &report, io.MultiWriter(&problem, os.Stderr)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return strings.TrimSpace(report.String()), nil
	}
	if err != nil {
		return "", fmt.Errorf("compile Python modules: %w: %s", err, strings.TrimSpace(problem.String()))
	}
	return "", nil
}
