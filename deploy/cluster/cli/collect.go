package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
)

func newCollect(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "collect",
		Short: "Free the registry's disk space of images that nothing refers to",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			freed, err := daemon.Collect(c.Context(), i)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "freed %.1f MiB\n", float64(freed)/(1<<20))
			return nil
		},
	}
}
