package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func runNowCommand(env *cmdline.Env) *cobra.Command {
	a := &asking{env: env}
	cmd := &cobra.Command{
		Use:   "run-now NAME",
		Short: "Send the event of a schedule now, beside its times",
		Long: "Send the event of a schedule now, beside its times.\n\n" +
			"It happens also when the schedule is suspended, whatever is under way, and does not count for --max-actions.",
		Example:           "  knit schedule run-now report\n  knit schedule run-now report --wait --timeout 30s",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return runNow(cmd.Context(), a, args[0]) },
	}
	a.add(cmd)
	return cmd
}

func runNow(ctx context.Context, a *asking, schedule string) error {
	name, err := a.name("run")
	if err != nil {
		return err
	}
	cluster, err := a.env.Connect(newScheme())
	if err != nil {
		return err
	}
	at := metav1.NewTime(a.env.Now().UTC().Truncate(time.Second))
	return a.ask(ctx, cluster, schedule, v1alpha1.ScheduleRequest{Name: name, At: &at}, 1)
}
