package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
)

// followEvery is how often logs -f looks for new lines.
const followEvery = 200 * time.Millisecond

func newLogs(o *options) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs [component]",
		Short: "Print the log of a component, or of the process itself",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			i, err := o.existing()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return daemon.LogFiles(i), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			component := "knit-cluster"
			if len(args) == 1 {
				component = args[0]
			}
			f, err := os.Open(daemon.LogFile(i, component))
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("component %q has no log; these have one: %v", component, daemon.LogFiles(i))
			}
			if err != nil {
				return err
			}
			defer f.Close()
			return printLog(c.Context(), f, follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines until interrupted")
	return c
}

func printLog(ctx context.Context, f *os.File, follow bool) error {
	for {
		if _, err := io.Copy(os.Stdout, f); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}
