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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

func describeCommand(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a schedule: its times, its state and what became of the last ones",
		Example:           "  knit schedule describe tick\n  knit schedule describe tick -o yaml",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return describe(cmd.Context(), env, args[0], format)
		},
	}
	format.AddOutput(cmd)
	return cmd
}

func describe(ctx context.Context, env *cmdline.Env, name string, format cmdline.Format) error {
	cluster, schedule, err := openSchedule(ctx, env, name)
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
	writeTimes(out, s)
	line(out, "Event type", s.Spec.Event.EventType())
	line(out, "Sink", sinkText(s.Spec.Sink))
	line(out, "Sink address", s.Status.SinkURI)
	line(out, "Timeout", durationText(s.Spec.Timeout))
	line(out, "Prewarm", durationText(s.Spec.Prewarm))
	writeState(out, s)
	writeRequests(out, s)
	writeActive(out, s)
	writeLast(out, s)
	return out.Flush()
}

func writeTimes(out io.Writer, s *v1alpha1.Schedule) {
	line(out, "Cron", strings.Join(s.Spec.Cron, "; "))
	var at []string
	for i := range s.Spec.At {
		at = append(at, utc(&s.Spec.At[i]))
	}
	line(out, "At", strings.Join(at, "; "))
	line(out, "Zone", s.Spec.Zone())
	line(out, "Start", utc(s.Spec.StartTime))
	line(out, "End", utc(s.Spec.EndTime))
	line(out, "Jitter", durationText(s.Spec.Jitter))
	line(out, "Overlap", string(s.Spec.Overlap))
	line(out, "Catch-up", s.Spec.Window().String())
	if n := s.Spec.PauseAfterFailures; n != nil {
		line(out, "Pause after", fmt.Sprintf("%d failures in a row (%d now)", *n, s.Status.FailedInARow))
	}
	if n := s.Spec.MaxActions; n != nil {
		line(out, "Actions", fmt.Sprintf("%d of %d", s.Status.Actions, *n))
	}
}

func writeState(out io.Writer, s *v1alpha1.Schedule) {
	line(out, "Ready", state(s))
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Message != "" {
		line(out, "Reason", ready.Reason+": "+ready.Message)
	}
	if scheduler.Paused(s) {
		line(out, "Paused since", fmt.Sprintf("%s; go on with `knit schedule resume %s -n %s`", utc(s.Status.PausedSince), s.Name, s.Namespace))
	}
	line(out, "Next", utc(s.Status.NextTime))
	line(out, "Waiting", utc(s.Status.Buffered))
}

func writeRequests(out io.Writer, s *v1alpha1.Schedule) {
	if len(s.Spec.Requests) == 0 {
		return
	}
	fmt.Fprintln(out, "Requests:")
	for _, r := range s.Spec.Requests {
		what := "now: " + utc(r.At)
		if r.At == nil {
			what = fmt.Sprintf("from %s to %s", utc(r.From), utc(r.To))
		}
		row(out, r.Name, what, progressText(requestStatus(s, r.Name)))
	}
}

func writeActive(out io.Writer, s *v1alpha1.Schedule) {
	if len(s.Status.Active) == 0 {
		return
	}
	fmt.Fprintln(out, "Under way:")
	for _, a := range s.Status.Active {
		row(out, utc(&a.PlannedTime), activeText(a), a.Request, a.Message)
	}
}

// activeText is how far an action is that is not settled.
func activeText(a v1alpha1.ActiveAction) string {
	switch {
	case a.Cancelled != nil:
		return "given up for the one of " + utc(a.Cancelled)
	case a.NextAttemptTime != nil:
		return fmt.Sprintf("failed attempts: %d, the next at %s", a.Attempts, a.NextAttemptTime.UTC().Format(time.RFC3339))
	case a.Attempts > 0:
		return fmt.Sprintf("failed attempts: %d", a.Attempts)
	}
	return "being sent"
}

func writeLast(out io.Writer, s *v1alpha1.Schedule) {
	if len(s.Status.LastActions) > 0 {
		fmt.Fprintln(out, "Last:")
	}
	for _, a := range s.Status.LastActions {
		row(out, plannedText(a), string(a.Result), delayText(a), a.Request, a.Message)
	}
}

func line(out io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(out, "%s:\t%s\n", name, cmdline.Plain(value))
	}
}

// row writes one of several things of a kind; what is empty at its end is left out.
func row(out io.Writer, cells ...string) {
	for i := range cells {
		cells[i] = cmdline.Plain(cells[i])
	}
	fmt.Fprintf(out, "  %s\n", strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

func durationText(d *metav1.Duration) string {
	if d == nil {
		return ""
	}
	return d.Duration.String()
}
