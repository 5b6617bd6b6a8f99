package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

// maxShown is how many times a dry run shows.
const maxShown = 20

// backfill is one run of `knit schedule backfill`.
type backfill struct {
	asking
	from, to string
	dryRun   bool
}

func backfillCommand(env *cmdline.Env) *cobra.Command {
	b := &backfill{asking: asking{env: env}}
	cmd := &cobra.Command{
		Use:   "backfill NAME --from TIME [--to TIME]",
		Short: "Act on the planned times of the past again, or for the first time",
		Long: "Act on the planned times of the past again, or for the first time.\n\n" +
			"The event of each time is sent, one after another and whether it was sent before or not, also when the\n" +
			fmt.Sprintf("schedule is suspended. It has the planned time and an id of its own. At most %d times go at once.", scheduler.MaxBackfill),
		Example: "  knit schedule backfill report --from 2026-01-01T00:00:00Z --to 2026-01-31T23:59:59Z --dry-run\n" +
			"  knit schedule backfill report --from 2026-01-01T00:00:00Z --to 2026-01-31T23:59:59Z --wait --timeout 1h",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args[0]) },
	}
	b.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&b.from, "from", "", "first of the times, such as 2026-01-31T08:00:00Z")
	flags.StringVar(&b.to, "to", "", "last of the times, itself included (default: now)")
	flags.BoolVar(&b.dryRun, "dry-run", false, "only list the times")
	for _, name := range []string{"from", "to"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func (b *backfill) run(ctx context.Context, schedule string) error {
	r, err := b.read()
	if err != nil {
		return err
	}
	cluster, s, err := openSchedule(ctx, b.env, schedule)
	if err != nil {
		return err
	}
	planned, err := plannedIn(s, r)
	if err != nil {
		return err
	}
	if b.dryRun {
		return b.show(s, planned)
	}
	return b.ask(ctx, cluster, schedule, r, len(planned))
}

// read reads the request from the flags.
func (b *backfill) read() (v1alpha1.ScheduleRequest, error) {
	var r v1alpha1.ScheduleRequest
	var err error
	if r.Name, err = b.name("backfill"); err != nil {
		return r, err
	}
	if b.from == "" {
		return r, cmdline.Usagef("say from when on: add --from with a time such as 2026-01-31T08:00:00Z")
	}
	if r.From, err = readTime("from", b.from); err != nil {
		return r, err
	}
	now := b.env.Now()
	if r.To, err = readTime("to", b.to); err != nil {
		return r, err
	}
	if r.To == nil {
		r.To = &metav1.Time{Time: now.UTC().Truncate(time.Second)}
	}
	if r.To.After(now) {
		return r, cmdline.Usagef("--to %s is not over yet: only times of the past can be acted on", utc(r.To))
	}
	if r.To.Before(r.From) {
		return r, cmdline.Usagef("--from %s is after --to %s", utc(r.From), utc(r.To))
	}
	return r, nil
}

// plannedIn are the times that a request asks for, at least one and not too many.
func plannedIn(s *v1alpha1.Schedule, r v1alpha1.ScheduleRequest) ([]time.Time, error) {
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		err = fmt.Errorf("schedule %s: %w", s.Name, err)
		return nil, cmdline.Advise(err, "correct its spec first")
	}
	var times []time.Time
	for at, ok := timetable.Next(r.From.Add(-time.Nanosecond)); ok && !at.After(r.To.Time); at, ok = timetable.Next(at) {
		if len(times) == scheduler.MaxBackfill {
			err := cmdline.Usagef("schedule %s has more than %d planned times from %s to %s", s.Name, scheduler.MaxBackfill, utc(r.From), utc(r.To))
			return nil, cmdline.Advise(err, "go in parts: the first %d end at %s", len(times), times[len(times)-1].Format(time.RFC3339))
		}
		times = append(times, at)
	}
	if len(times) == 0 {
		err := cmdline.Usagef("schedule %s has no planned time from %s to %s", s.Name, utc(r.From), utc(r.To))
		return nil, cmdline.Advise(err, "look at its times with `knit schedule next %s -n %s --from %s`", s.Name, s.Namespace, utc(r.From))
	}
	return times, nil
}

// show lists the times, for people as far as they can read them.
func (b *backfill) show(s *v1alpha1.Schedule, planned []time.Time) error {
	if done, err := cmdline.PrintValue(b.env.Out, b.format, map[string]any{"items": planned}); done {
		return err
	}
	for _, at := range planned[:min(len(planned), maxShown)] {
		fmt.Fprintln(b.env.Out, inZone(s, at).Format(time.RFC3339))
	}
	if more := len(planned) - maxShown; more > 0 {
		fmt.Fprintf(b.env.Out, "... and %d more, the last at %s\n", more, inZone(s, planned[len(planned)-1]).Format(time.RFC3339))
	}
	fmt.Fprintf(b.env.Err, "These times would be acted on: %d. Nothing was done.\n", len(planned))
	return nil
}
