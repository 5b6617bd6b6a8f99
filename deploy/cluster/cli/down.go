package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/machine"
	"github.com/knit-dev/knit/deploy/cluster/network"
	"github.com/knit-dev/knit/deploy/cluster/progress"
)

var stopContainers = machine.StopContainers

func newDown(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster; objects, images and volumes stay",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			return locked(i, func() error { return down(c.Context(), i) })
		},
	}
}

func down(ctx context.Context, i instance.Instance) error {
	return progress.NewPrinter(os.Stderr).Run(ctx, stopping(i))
}

func stopping(i instance.Instance) []progress.Step {
	return []progress.Step{
		{Name: "Stop Kubernetes and all containers", Do: func(ctx context.Context, _ func(string, ...any)) error {
			return errors.Join(stopDaemon(ctx, i), machine.RemoveRunFiles(i))
		}},
		{Name: "Remove the pod network", Do: func(context.Context, func(string, ...any)) error { return network.Down(i) }},
		{Name: "Remove the control groups", Do: func(context.Context, func(string, ...any)) error { return cgroup.Remove(i.Name) }},
	}
}

func newDelete(o *options) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "delete",
		Short: "Stop the cluster and remove everything it ever made",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return machine.ErrNotRoot
			}
			i, err := o.existing()
			var version *instance.VersionError
			switch {
			case err != nil && name != "": // what the folder says is lost; the name is enough
				i = instance.Default()
				i.Name, i.StateDir = name, o.StateDir
				if err := i.Validate(); err != nil {
					return err
				}
			case errors.Is(err, instance.ErrNone):
				fmt.Fprintf(os.Stderr, "no cluster in %s: nothing to delete\n", o.StateDir)
				return nil
			case errors.As(err, &version): // an older layout can still be removed
			case err != nil:
				return err
			}
			return locked(i, func() error { return remove(c.Context(), i) })
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the cluster, when its state folder cannot tell any more")
	return c
}

func remove(ctx context.Context, i instance.Instance) error {
	steps := append(stopping(i), progress.Step{
		Name: "Remove " + i.StateDir,
		Do: func(context.Context, func(string, ...any)) error {
			return errors.Join(unmerge(i), machine.RemoveFiles(i))
		},
	})
	return progress.NewPrinter(os.Stderr).Run(cleanupContext(ctx), steps)
}

// locked runs f while no other command works on the instance.
func locked(i instance.Instance, f func() error) error {
	lock, err := i.Acquire("command")
	if err != nil {
		return err
	}
	defer func() {
		lock.Release()
		i.RemoveLocks()
	}()
	return f()
}
