package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"github.com/knit-dev/knit/functions/cli/cmdline"
	golang "github.com/knit-dev/knit/runtime/lang/go"
	"github.com/knit-dev/knit/runtime/lang/node"
	"github.com/knit-dev/knit/runtime/lang/python"
)

// sdkFolder holds the SDK in a project of Go or Node, python's package its own name.
const (
	sdkFolder    = "knit-sdk"
	pythonFolder = "knit"
)

func sdkCommand(env *cmdline.Env) *cobra.Command {
	language := ""
	cmd := &cobra.Command{
		Use:   "sdk [FOLDER]",
		Short: "Put Knit's SDK into a project",
		Long: "Put Knit's SDK into the project in FOLDER (the present one when left out), so that it builds and its tests run on this machine, offline.\n\n" +
			"Builds in the cluster have the SDK without this. A project that brings it keeps its version; run the command again to get that of this program.",
		Example: "  knit sdk\n  knit sdk hello --language go",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			folder := "."
			if len(args) > 0 {
				folder = args[0]
			}
			return addSDK(env, folder, language)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().StringVarP(&language, "language", "l", "", "go, node or python (default: what the folder holds)")
	_ = cmd.RegisterFlagCompletionFunc("language", cobra.FixedCompletions([]string{golang.Name, node.Name, python.Name}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func addSDK(env *cmdline.Env, folder, language string) error {
	if language == "" {
		var err error
		if language, err = languageOf(folder); err != nil {
			return err
		}
	}
	switch language {
	case golang.Name:
		return addGoSDK(env, folder)
	case node.Name, "typescript":
		return addNodeSDK(env, folder)
	case python.Name:
		return addPythonSDK(env, folder)
	}
	return cmdline.Usagef("--language=%s is none of go, node, python", language)
}

// languageOf is what the builder would take the folder for. A function that is
// not finished yet is still of its language.
func languageOf(folder string) (string, error) {
	if _, err := golang.Detect(folder); !errors.Is(err, golang.ErrNoGo) && !errors.Is(err, fs.ErrNotExist) {
		return golang.Name, nil
	}
	if _, err := node.Detect(folder); !errors.Is(err, node.ErrNoNode) && !errors.Is(err, fs.ErrNotExist) {
		return node.Name, nil
	}
	if _, err := python.Detect(folder); !errors.Is(err, python.ErrNoPython) && !errors.Is(err, fs.ErrNotExist) {
		return python.Name, nil
	}
	return "", cmdline.Advise(fmt.Errorf("%s holds no function in Go, Node or Python", folder), "name the project's folder, or its language with --language")
}

// addGoSDK writes the module beside the function's own and lets go.mod use it.
func addGoSDK(env *cmdline.Env, folder string) error {
	name := filepath.Join(folder, "go.mod")
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return cmdline.Advise(fmt.Errorf("%s has no go.mod", folder), "run `go mod init function` there first; a function without go.mod has the SDK in the cluster only")
	}
	if err != nil {
		return fmt.Errorf("put the SDK into %s: %w", folder, err)
	}
	sdk, err := golang.LoadSDK()
	if err != nil {
		return err
	}
	mod, err := modfile.Parse("go.mod", content, nil)
	if err != nil {
		return fmt.Errorf("put the SDK into %s: %w", folder, err)
	}
	if err := errors.Join(mod.AddRequire(sdk.Path, sdk.Version), mod.AddReplace(sdk.Path, "", "./"+sdkFolder, "")); err != nil {
		return fmt.Errorf("put the SDK into %s: %w", name, err)
	}
	mod.Cleanup()
	if content, err = mod.Format(); err != nil {
		return fmt.Errorf("put the SDK into %s: %w", name, err)
	}
	maps.DeleteFunc(sdk.Files, func(name string, _ []byte) bool { return isGoTest(name) })
	if err := replaceFolder(filepath.Join(folder, sdkFolder), sdk.Files); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		return fmt.Errorf("put the SDK into %s: %w", folder, err)
	}
	fmt.Fprintf(env.Err, "Wrote Knit's SDK %s to %s and named it in go.mod\nnext: import %q, then run `go mod tidy`\n", sdk.Version, filepath.Join(folder, sdkFolder), sdk.Path)
	return nil
}

func isGoTest(name string) bool {
	matched, _ := filepath.Match("*_test.go", filepath.Base(name))
	return matched
}

func addNodeSDK(env *cmdline.Env, folder string) error {
	files, err := node.SDK()
	if err != nil {
		return err
	}
	if err := replaceFolder(filepath.Join(folder, sdkFolder), files); err != nil {
		return err
	}
	fmt.Fprintf(env.Err, "Wrote Knit's SDK to %s\nnext: npm install ./%s, which names it in package.json as %s\n", filepath.Join(folder, sdkFolder), sdkFolder, node.SDKName)
	return nil
}

func addPythonSDK(env *cmdline.Env, folder string) error {
	files, err := python.SDK()
	if err != nil {
		return err
	}
	inner := map[string][]byte{}
	for name, content := range files {
		relative, err := filepath.Rel(pythonFolder, filepath.FromSlash(name))
		if err != nil {
			return err
		}
		inner[relative] = content
	}
	if err := replaceFolder(filepath.Join(folder, pythonFolder), inner); err != nil {
		return err
	}
	fmt.Fprintf(env.Err, "Wrote Knit's SDK to %s\nnext: import knit\n", filepath.Join(folder, pythonFolder))
	return nil
}

// replaceFolder writes the files into a folder that holds nothing else. One with
// other files than an earlier run's is somebody's own, and is left alone.
func replaceFolder(folder string, files map[string][]byte) error {
	if err := refuseForeign(folder); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("replace %s: %w", folder, err)
	}
	files[sdkMark] = []byte("Knit's SDK, written by `knit sdk`, which replaces this folder as a whole.\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		target := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("write the SDK: %w", err)
		}
		if err := os.WriteFile(target, files[name], 0o644); err != nil {
			return fmt.Errorf("write the SDK: %w", err)
		}
	}
	return nil
}

// sdkMark is the file by which the command knows a folder of its own.
const sdkMark = "KNIT-SDK.txt"

func refuseForeign(folder string) error {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(folder, sdkMark)); err == nil {
		return nil
	}
	return cmdline.Advise(fmt.Errorf("%s is there already, and not written by this command", folder), "rename or remove it")
}
