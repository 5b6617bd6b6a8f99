package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func deleteCommand(env *cmdline.Env) *cobra.Command {
	deletion := &cmdline.Deletion{Env: env}
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete schedules and wait until they are gone",
		Example:           "  knit schedule delete report\n  knit schedule delete report poll --no-wait",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeSchedules(env, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := deletion.Bound(cmd.Context())
			defer cancel()
			return deleteAll(ctx, deletion, args)
		},
	}
	deletion.AddFlags(cmd)
	return cmd
}

// deleteAll deletes one after another. One absent name must not keep the others
// alive.
func deleteAll(ctx context.Context, d *cmdline.Deletion, names []string) error {
	cluster, err := d.Env.Connect(newScheme())
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		failures = append(failures, deleteOne(ctx, d, cluster, name))
	}
	return errors.Join(failures...)
}

func deleteOne(ctx context.Context, d *cmdline.Deletion, c *cmdline.Cluster, name string) error {
	s, err := getSchedule(ctx, c, name)
	if err != nil {
		return err
	}
	return d.One(ctx, c, s, "schedule "+name, fmt.Sprintf("knit schedule describe %s -n %s -o yaml", name, c.Namespace))
}
