package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

// creation is one run of `knit schedule create`.
type creation struct {
	cmdline.Creation
	times timeFlags
	spec  specFlags
}

func createCommand(env *cmdline.Env) *cobra.Command {
	c := &creation{Creation: cmdline.Creation{Env: env, Noun: "schedule"}}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a schedule, which sends an event to a sink at planned times",
		Long: "Create a schedule, which sends an event to a sink at planned times.\n\n" +
			"The times are those of all --cron, --at and --every together. The sink is " + sinkForms + ".",
		Example: "  knit schedule create report --cron '30 8 * * 1-5' --zone Europe/Berlin --sink function/report --data '{\"kind\":\"daily\"}'\n" +
			"  knit schedule create poll --every 90s --jitter 20s --overlap Skip --pause-after 5 --sink broker/default\n" +
			"  knit schedule create launch --at 2027-01-01T08:00:00Z --sink https://example.com/launch --dry-run -o yaml",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	c.times.add(cmd)
	c.spec.add(env, cmd)
	c.AddFlags(cmd)
	return cmd
}

func (c *creation) run(cmd *cobra.Command, name string) error {
	namespace, err := c.Namespace()
	if err != nil {
		return err
	}
	schedule, err := c.schedule(cmd, namespace, name)
	if err != nil {
		return err
	}
	if c.DryRun == cmdline.DryRunClient {
		return c.print(schedule)
	}
	cluster, err := c.Env.Connect(sinkScheme())
	if err != nil {
		return err
	}
	if err := c.Send(cmd.Context(), cluster, schedule); err != nil {
		return err
	}
	c.note(cmd.Context(), cluster, schedule)
	return c.print(schedule)
}

// schedule makes the object of the flags. It is one that the API server takes and
// that does something.
func (c *creation) schedule(cmd *cobra.Command, namespace, name string) (*v1alpha1.Schedule, error) {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return nil, cmdline.Usagef("%.80q is no name of a schedule: %s", name, problems[0])
	}
	s := &v1alpha1.Schedule{}
	s.Name, s.Namespace = name, namespace
	if err := c.times.set(cmd, &s.Spec); err != nil {
		return nil, err
	}
	if err := c.spec.set(c.Env, cmd, &s.Spec); err != nil {
		return nil, err
	}
	if errs := s.Validate(); len(errs) > 0 {
		return nil, cmdline.Usage(fmt.Errorf("schedule %s: %w", name, errs.ToAggregate()))
	}
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("schedule %s: %w", name, err))
	}
	if _, ok := timetable.Next(c.Env.Now()); !ok {
		err := cmdline.Usagef("schedule %s: nothing is ever planned from now on", name)
		return nil, cmdline.Advise(err, "check the days and months of --cron, and --at, --start and --end")
	}
	return s, nil
}

// print writes the object, and for people what comes next.
func (c *creation) print(s *v1alpha1.Schedule) error {
	created, err := c.Print(newScheme(), s)
	if err != nil || !created {
		return err
	}
	if s.Spec.Suspend {
		fmt.Fprintf(c.Env.Out, "it is suspended: nothing happens until `knit schedule resume %s`\n", s.Name)
		return nil
	}
	// By now the uid is known, from which the jitter follows.
	return writeNext(c.Env.Out, s, c.Env.Now())
}
