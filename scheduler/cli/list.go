package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func listCommand(env *cmdline.Env) *cobra.Command {
	var everywhere bool
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List schedules with their next and last time",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), env, everywhere, format)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "schedules of all namespaces")
	format.AddOutput(cmd)
	return cmd
}

func list(ctx context.Context, env *cmdline.Env, everywhere bool, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	namespace := cluster.Namespace
	if everywhere {
		namespace = ""
	}
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
		fmt.Fprintln(env.Err, "No schedules. Add an object of kind Schedule to a knit.yaml and run `knit deploy`.")
		return nil
	}
	return scheduleTable(schedules.Items, everywhere, env.Now()).Write(env.Out, format)
}

func scheduleTable(schedules []v1alpha1.Schedule, everywhere bool, now time.Time) cmdline.Table {
	table := cmdline.Table{Columns: []string{"NAME", "CRON", "ZONE", "READY", "NEXT", "LAST", "AGE", "SINK"}, WideFrom: 7}
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
		row := []string{s.Name, strings.Join(s.Spec.Cron, "; "), s.Spec.Zone(), state(&s), nextText(&s), last, age, sinkText(s.Spec.Sink)}
		if everywhere {
			row = append([]string{s.Namespace}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// state is the Ready condition in a word.
func state(s *v1alpha1.Schedule) string {
	if s.Spec.Suspend {
		return v1alpha1.ReasonSuspended
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != s.Generation {
		return string(metav1.ConditionUnknown)
	}
	return string(ready.Status)
}

func nextText(s *v1alpha1.Schedule) string {
	if s.Status.NextTime == nil {
		return ""
	}
	return s.Status.NextTime.UTC().Format(time.RFC3339)
}

func sinkText(d v1alpha1.Destination) string {
	if d.Ref != nil {
		return strings.ToLower(d.Ref.Kind) + "/" + d.Ref.Name
	}
	return d.URI
}
