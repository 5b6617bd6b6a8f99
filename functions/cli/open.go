package cli

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func openCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "open NAME",
		Short:             "Open a function's URL in the browser",
		Long:              "Open a function's URL in the browser, and print it. Where there is no browser the URL alone is printed.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return open(cmd.Context(), env, args[0])
		},
	}
}

func open(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	if function.Status.URL == "" {
		return cmdline.Advise(fmt.Errorf("function %s has no URL yet", name), "see why with `knit describe %s`", name)
	}
	fmt.Fprintln(env.Out, function.Status.URL)
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	if path, err := exec.LookPath(opener); err == nil {
		if err := exec.CommandContext(ctx, path, function.Status.URL).Run(); err != nil {
			return fmt.Errorf("open %s with %s: %w", function.Status.URL, opener, err)
		}
	}
	return nil
}
