package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func listCommand(env *cmdline.Env) *cobra.Command {
	var everywhere, watch bool
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List schedules with their next and last time",
		Example: "  knit schedule list\n  knit schedule list -A -o wide",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), env, everywhere, watch, format)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "schedules of all namespaces")
	cmdline.AddWatch(cmd, &watch)
	format.AddOutput(cmd)
	return cmd
}

func list(ctx context.Context, env *cmdline.Env, everywhere, watch bool, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	namespace := cluster.Namespace
	if everywhere {
		namespace = ""
	}
	show := func(env *cmdline.Env) error { return showList(ctx, env, cluster, namespace, everywhere, format) }
	if watch {
		return cmdline.Watch(ctx, env, cluster, format, &v1alpha1.ScheduleList{}, show, client.InNamespace(namespace))
	}
	return show(env)
}

func showList(ctx context.Context, env *cmdline.Env, cluster *cmdline.Cluster, namespace string, everywhere bool, format cmdline.Format) error {
	var schedules v1alpha1.ScheduleList
	if err := cluster.List(ctx, &schedules, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list schedules: %w", err)
	}
	objects := make([]client.Object, 0, len(schedules.Items))
	for i := range schedules.Items {
		objects = append(objects, &schedules.Items[i])
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).List(format, objects); done {
		return err
	}
	if len(objects) == 0 {
		fmt.Fprintln(env.Err, "No schedules. Create one with `knit schedule create`, or add an object of kind Schedule to a knit.yaml and run `knit deploy`.")
		return nil
	}
	return scheduleTable(schedules.Items, everywhere, env.Now()).Write(env.Out, format)
}

func scheduleTable(schedules []v1alpha1.Schedule, everywhere bool, now time.Time) cmdline.Table {
	table := cmdline.Table{Columns: []string{"NAME", "TIMES", "ZONE", "READY", "NEXT", "LAST", "AGE", "SINK"}, WideFrom: 7}
	if everywhere {
		table.Columns = append([]string{"NAMESPACE"}, table.Columns...)
		table.WideFrom++
	}
	for _, s := range schedules {
		last := ""
		if len(s.Status.LastActions) > 0 {
			last = string(s.Status.LastActions[0].Result)
		}
		age := duration.HumanDuration(now.Sub(s.CreationTimestamp.Time))
		row := []string{s.Name, s.Spec.When(), s.Spec.Zone(), state(&s), utc(s.Status.NextTime), last, age, sinkText(s.Spec.Sink)}
		if everywhere {
			row = append([]string{s.Namespace}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}
