package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

func pauseCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "pause NAME",
		Short: "Suspend a schedule: nothing of it happens until it is resumed",
		Long: "Suspend a schedule: nothing of it happens until it is resumed.\n\n" +
			"What is planned meanwhile is skipped and not made up for; `knit schedule run-now` and `backfill` still work.",
		Example:           "  knit schedule pause report",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return pause(cmd.Context(), env, args[0]) },
	}
}

func pause(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	already := false
	_, err = change(ctx, cluster, name, func(s *v1alpha1.Schedule) error {
		already = s.Spec.Suspend
		s.Spec.Suspend = true
		return nil
	})
	if err != nil {
		return err
	}
	if already {
		fmt.Fprintf(env.Out, "schedule %s is suspended already\n", name)
		return nil
	}
	fmt.Fprintf(env.Out, "schedule %s suspended\n", name)
	return nil
}

func resumeCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME",
		Short: "Go on with a schedule that is suspended, or that paused itself after failures",
		Long: "Go on with a schedule that is suspended, or that paused itself after failures.\n\n" +
			"What was planned meanwhile is skipped; `knit schedule backfill` makes up for it.",
		Example:           "  knit schedule resume report",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return resume(cmd.Context(), env, args[0]) },
	}
}

func resume(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	var ended []string
	schedule, err := change(ctx, cluster, name, func(s *v1alpha1.Schedule) error {
		ended = goOn(s)
		return nil
	})
	if err != nil {
		return err
	}
	if len(ended) == 0 {
		fmt.Fprintf(env.Out, "schedule %s is neither suspended nor paused: nothing to resume\n", name)
		return nil
	}
	fmt.Fprintf(env.Out, "schedule %s resumed: it %s\n", name, strings.Join(ended, ", and it "))
	if used(schedule) {
		fmt.Fprintf(env.Err, "note: it has had all the %d actions of spec.maxActions, so nothing more happens\n", *schedule.Spec.MaxActions)
		return nil
	}
	return writeNext(env.Out, schedule, env.Now())
}

// goOn ends a suspension and a pause, and says what it ended.
func goOn(s *v1alpha1.Schedule) []string {
	var ended []string
	if s.Spec.Suspend {
		s.Spec.Suspend = false
		ended = append(ended, "was suspended")
	}
	if scheduler.Paused(s) {
		s.Spec.ResumedFrom = s.Status.PausedSince.DeepCopy()
		ended = append(ended, fmt.Sprintf("had paused itself at %s after %d failures in a row", utc(s.Status.PausedSince), s.Status.FailedInARow))
	}
	return ended
}

// writeNext says when a schedule happens next.
func writeNext(out io.Writer, s *v1alpha1.Schedule, now time.Time) error {
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		return fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	if planned, ok := timetable.Next(now); ok {
		fmt.Fprintf(out, "it happens next at %s\n", inZone(s, timetable.Due(planned)).Format(time.RFC3339))
	}
	return nil
}

// inZone is a time as a clock of the schedule's zone shows it.
func inZone(s *v1alpha1.Schedule, t time.Time) time.Time {
	zone, err := time.LoadLocation(s.Spec.Zone())
	if err != nil {
		return t.UTC()
	}
	return t.In(zone)
}
