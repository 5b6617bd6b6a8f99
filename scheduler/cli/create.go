package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/scheduler"
)

// fieldOwner is the command line's name in managed fields.
const fieldOwner = client.FieldOwner("knit-cli")

// Values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// creation is one run of `knit schedule create`.
type creation struct {
	env    *cmdline.Env
	times  timeFlags
	spec   specFlags
	dryRun string
	format cmdline.Format
}

func createCommand(env *cmdline.Env) *cobra.Command {
	c := &creation{env: env}
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
	cmd.Flags().StringVar(&c.dryRun, "dry-run", dryRunNone, "create nothing; client: print the object; server: let the API server check it first")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = dryRunClient
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{dryRunClient, dryRunServer}, cobra.ShellCompDirectiveNoFileComp))
	c.format.AddOutput(cmd)
	return cmd
}

func (c *creation) run(cmd *cobra.Command, name string) error {
	if !slices.Contains([]string{dryRunNone, dryRunClient, dryRunServer}, c.dryRun) {
		return cmdline.Usagef("--dry-run=%s is none of client, server", c.dryRun)
	}
	namespace, err := c.env.WorkingNamespace()
	if err != nil {
		if c.dryRun != dryRunClient {
			return err
		}
		namespace = "default" // A dry run on the client works without any kubeconfig.
	}
	schedule, err := c.schedule(cmd, namespace, name)
	if err != nil {
		return err
	}
	if c.dryRun == dryRunClient {
		return c.print(schedule)
	}
	cluster, err := c.env.Connect(sinkScheme())
	if err != nil {
		return err
	}
	if err := c.send(cmd.Context(), cluster, schedule); err != nil {
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
	if err := c.spec.set(c.env, cmd, &s.Spec); err != nil {
		return nil, err
	}
	if errs := s.Validate(); len(errs) > 0 {
		return nil, cmdline.Usage(fmt.Errorf("schedule %s: %w", name, errs.ToAggregate()))
	}
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("schedule %s: %w", name, err))
	}
	if _, ok := timetable.Next(c.env.Now()); !ok {
		err := cmdline.Usagef("schedule %s: nothing is ever planned from now on", name)
		return nil, cmdline.Advise(err, "check the days and months of --cron, and --at, --start and --end")
	}
	return s, nil
}

func (c *creation) send(ctx context.Context, cluster *cmdline.Cluster, s *v1alpha1.Schedule) error {
	options := []client.CreateOption{fieldOwner}
	if c.dryRun == dryRunServer {
		options = append(options, client.DryRunAll)
	}
	name, namespace := s.Name, s.Namespace
	err := cluster.Create(ctx, s, options...)
	if apierrors.IsAlreadyExists(err) {
		err = fmt.Errorf("schedule %s is there already in namespace %s", name, namespace)
		return cmdline.Advise(err, "look at it with `knit schedule describe %s -n %s`; to replace it, delete it first", name, namespace)
	}
	if err != nil {
		return fmt.Errorf("create schedule %s in namespace %s: %w", name, namespace, err)
	}
	return nil
}

// print writes the object in the format asked for. For people it says that the
// schedule was created and what comes next, or names it when it was not.
func (c *creation) print(s *v1alpha1.Schedule) error {
	format := c.format
	if format == cmdline.Wide {
		format = cmdline.Text
	}
	if format == cmdline.Text && c.dryRun != dryRunNone {
		format = cmdline.Name
	}
	if done, err := (cmdline.Printer{Scheme: newScheme(), Out: c.env.Out}).One(format, s); done {
		return err
	}
	fmt.Fprintf(c.env.Out, "schedule %s created\n", s.Name)
	if s.Spec.Suspend {
		fmt.Fprintf(c.env.Out, "it is suspended: nothing happens until `knit schedule resume %s`\n", s.Name)
		return nil
	}
	// By now the uid is known, from which the jitter follows.
	return writeNext(c.env.Out, s, c.env.Now())
}
