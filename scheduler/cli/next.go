package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

// maxTimes is the most times that are computed at once.
const maxTimes = 1000

// preview is one run of `knit schedule next`.
type preview struct {
	env   *cmdline.Env
	cron  []string
	zone  string
	from  string
	count int
}

func nextCommand(env *cmdline.Env) *cobra.Command {
	p := &preview{env: env}
	cmd := &cobra.Command{
		Use:   "next [NAME]",
		Short: "Show the next times of a schedule, or of cron lines",
		Example: "  knit schedule next tick\n" +
			"  knit schedule next --cron '30 2 * * 1-5' --zone Europe/Berlin --count 3",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeSchedules(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&p.cron, "cron", nil, "cron line to read instead of a schedule's; can be repeated")
	flags.StringVar(&p.zone, "zone", "UTC", "time zone of --cron")
	flags.StringVar(&p.from, "from", "", "first time to look at, in RFC 3339 (default: now)")
	flags.IntVar(&p.count, "count", 5, fmt.Sprintf("how many times, at most %d", maxTimes))
	return cmd
}

func (p *preview) run(ctx context.Context, args []string) error {
	if (len(args) == 0) == (len(p.cron) == 0) {
		return cmdline.Usagef("name a schedule or give --cron, one of the two")
	}
	if p.count < 1 || p.count > maxTimes {
		return cmdline.Usagef("--count %d is not between 1 and %d", p.count, maxTimes)
	}
	at := p.env.Now()
	if p.from != "" {
		from, err := time.Parse(time.RFC3339, p.from)
		if err != nil {
			return cmdline.Usagef("--from %q is no time such as 2026-01-31T08:00:00Z", p.from)
		}
		// The time itself counts: a timetable asks for what comes after.
		at = from.Add(-time.Nanosecond)
	}
	lines, zone := p.cron, p.zone
	if len(args) > 0 {
		cluster, err := p.env.Connect(newScheme())
		if err != nil {
			return err
		}
		schedule, err := getSchedule(ctx, cluster, args[0])
		if err != nil {
			return err
		}
		lines, zone = schedule.Spec.Cron, schedule.Spec.Zone()
		if schedule.Spec.Suspend {
			fmt.Fprintf(p.env.Err, "Schedule %s is suspended: none of these will happen.\n", schedule.Name)
		}
	}
	timetable, err := scheduler.Parse(lines, zone)
	if err != nil {
		return cmdline.Usage(err)
	}
	return p.print(timetable, zone, at)
}

func (p *preview) print(timetable scheduler.Timetable, zone string, at time.Time) error {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return cmdline.Usage(err)
	}
	for range p.count {
		next, ok := timetable.Next(at)
		if !ok {
			fmt.Fprintln(p.env.Err, "No more times within the years that are looked at.")
			return nil
		}
		fmt.Fprintf(p.env.Out, "%s  %s\n", next.In(location).Format(time.RFC3339), next.In(location).Format("Mon"))
		at = next
	}
	return nil
}
