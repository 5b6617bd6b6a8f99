package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

// maxTimes is the most times that are computed at once.
const maxTimes = 1000

// preview is one run of `knit schedule next`.
type preview struct {
	env   *cmdline.Env
	times timeFlags
	from  string
	count int
}

func nextCommand(env *cmdline.Env) *cobra.Command {
	p := &preview{env: env}
	cmd := &cobra.Command{
		Use:   "next [NAME]",
		Short: "Show the next times of a schedule, or of times that are only thought of",
		Long: "Show the next times of a schedule, or of times that are only thought of.\n\n" +
			"What a jitter makes of each time is shown behind it. By how much a time is put off follows from the\n" +
			"schedule itself; without one, only the latest moment is known.",
		Example: "  knit schedule next tick\n" +
			"  knit schedule next --cron '30 2 * * 1-5' --zone Europe/Berlin --count 3\n" +
			"  knit schedule next --every 90m --start 2026-01-31T08:00:00Z --from 2026-01-31T00:00:00Z",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return p.run(cmd, args) },
	}
	p.times.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&p.from, "from", "", "first time to look at, in RFC 3339 (default: now)")
	flags.IntVar(&p.count, "count", 5, fmt.Sprintf("how many times, at most %d", maxTimes))
	return cmd
}

func (p *preview) run(cmd *cobra.Command, args []string) error {
	if (len(args) == 0) != p.times.given(cmd) {
		return cmdline.Usagef("name a schedule or give --cron, --at or --every, one of the two")
	}
	if p.count < 1 || p.count > maxTimes {
		return cmdline.Usagef("--count %d is not between 1 and %d", p.count, maxTimes)
	}
	after := p.env.Now()
	if from, err := readTime("from", p.from); err != nil {
		return err
	} else if from != nil {
		// The time itself counts: a timetable asks for what comes after.
		after = from.Add(-time.Nanosecond)
	}
	schedule := &v1alpha1.Schedule{}
	var err error
	if len(args) > 0 {
		_, schedule, err = openSchedule(cmd.Context(), p.env, args[0])
	} else {
		err = p.times.set(cmd, &schedule.Spec)
	}
	if err != nil {
		return err
	}
	timetable, err := scheduler.Parse(scheduler.TimesOf(schedule))
	if err != nil {
		return cmdline.Usage(err)
	}
	p.warn(schedule)
	p.print(schedule, timetable, after)
	return nil
}

// warn says what keeps the times from happening.
func (p *preview) warn(s *v1alpha1.Schedule) {
	switch {
	case s.Spec.Suspend:
		fmt.Fprintf(p.env.Err, "Schedule %s is suspended: none of these will happen before `knit schedule resume %[1]s`.\n", s.Name)
	case scheduler.Paused(s):
		fmt.Fprintf(p.env.Err, "Schedule %s paused itself after %d failures: none of these will happen before `knit schedule resume %[1]s`.\n", s.Name, s.Status.FailedInARow)
	}
}

func (p *preview) print(s *v1alpha1.Schedule, timetable scheduler.Timetable, after time.Time) {
	last, bounded := lastAction(s, timetable, p.env.Now())
	for range p.count {
		planned, ok := timetable.Next(after)
		if !ok {
			fmt.Fprintln(p.env.Err, "No more times within the years that are looked at.")
			return
		}
		if bounded && planned.After(last) {
			fmt.Fprintf(p.env.Err, "No more times: then the %d actions of spec.maxActions are over.\n", *s.Spec.MaxActions)
			return
		}
		at := inZone(s, planned)
		line := at.Format(time.RFC3339) + "  " + at.Format("Mon") + "  " + delayed(s, timetable, planned)
		fmt.Fprintln(p.env.Out, strings.TrimRight(line, " "))
		after = planned
	}
}

// delayed is what the jitter makes of a planned time.
func delayed(s *v1alpha1.Schedule, timetable scheduler.Timetable, planned time.Time) string {
	switch {
	case s.Spec.Delay() == 0:
		return ""
	case s.UID == "":
		return "due before " + inZone(s, planned.Add(s.Spec.Delay())).Format(time.RFC3339)
	}
	return "due " + inZone(s, timetable.Due(planned)).Format("2006-01-02T15:04:05.000Z07:00")
}

// maxAhead is how many planned times are looked at for the last one that
// spec.maxActions allows. With more left, what is shown is not the end.
const maxAhead = 10_000

// lastAction is the last planned time that spec.maxActions allows; false when it
// does not bound what can be shown.
func lastAction(s *v1alpha1.Schedule, timetable scheduler.Timetable, now time.Time) (time.Time, bool) {
	if s.Spec.MaxActions == nil {
		return time.Time{}, false
	}
	left := *s.Spec.MaxActions - s.Status.Actions
	if s.Status.Buffered != nil {
		left--
	}
	if left > maxAhead {
		return time.Time{}, false
	}
	last := now
	for ; left > 0; left-- {
		planned, ok := timetable.Next(last)
		if !ok {
			return time.Time{}, false
		}
		last = planned
	}
	return last, true
}
