package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func describeCommand(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a schedule: its times, its state and what became of the last ones",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			return describe(cmd.Context(), env, args[0], format)
		},
	}
	format.AddOutput(cmd)
	return cmd
}

func describe(ctx context.Context, env *cmdline.Env, name string, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	schedule, err := getSchedule(ctx, cluster, name)
	if err != nil {
		return err
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).One(format, schedule); done {
		return err
	}
	return write(env.Out, schedule)
}

func write(to io.Writer, s *v1alpha1.Schedule) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line(out, "Name", s.Name)
	line(out, "Namespace", s.Namespace)
	line(out, "Cron", strings.Join(s.Spec.Cron, "; "))
	line(out, "Zone", s.Spec.Zone())
	line(out, "Catch-up", s.Spec.Window().String())
	line(out, "Event type", s.Spec.Event.EventType())
	line(out, "Sink", sinkText(s.Spec.Sink))
	line(out, "Sink address", s.Status.SinkURI)
	line(out, "Ready", state(s))
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Message != "" {
		line(out, "Reason", ready.Reason+": "+ready.Message)
	}
	line(out, "Next", nextText(s))
	if p := s.Status.Pending; p != nil {
		line(out, "Under way", fmt.Sprintf("%s, %d failed attempts %s", p.PlannedTime.UTC().Format(time.RFC3339), p.Attempts, p.Message))
	}
	if len(s.Status.LastActions) > 0 {
		fmt.Fprintln(out, "Last:")
	}
	for _, a := range s.Status.LastActions {
		delay := a.ActualTime.Sub(a.PlannedTime.Time).Round(time.Millisecond)
		fmt.Fprintf(out, "  %s\t%s\t+%s\t%s\n", a.PlannedTime.UTC().Format(time.RFC3339), a.Result, delay, a.Message)
	}
	return out.Flush()
}

func line(out io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(out, "%s:\t%s\n", name, value)
	}
}
