package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// fieldOwner is the command line's name in managed fields.
const fieldOwner = client.FieldOwner("knit-cli")

// Values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// creation is one run of a create command.
type creation struct {
	env       *cmdline.Env
	noun      noun
	dryRun    string
	format    cmdline.Format
	namespace string
	cluster   *cmdline.Cluster // nil until connected
	needs     []need
}

// maker makes the object of a create command; the name and namespace are set for it.
type maker func(context.Context, *creation) (*unstructured.Unstructured, error)

// createCommand creates an object of a noun. Takes tells what a SINK is, where
// the command has one.
func createCommand(env *cmdline.Env, n noun, short, example, takes string, makeObject maker) *cobra.Command {
	c := &creation{env: env, noun: n}
	cmd := &cobra.Command{
		Use:               "create NAME",
		Short:             short,
		Long:              short + ".\n\n" + takes,
		Example:           example,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], makeObject) },
	}
	cmd.Flags().StringVar(&c.dryRun, "dry-run", dryRunNone, "create nothing; client: print the object; server: let the API server check it first")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = dryRunClient
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{dryRunClient, dryRunServer}, cobra.ShellCompDirectiveNoFileComp))
	c.format.AddOutput(cmd)
	return cmd
}

func (c *creation) run(ctx context.Context, name string, makeObject maker) error {
	if !slices.Contains([]string{dryRunNone, dryRunClient, dryRunServer}, c.dryRun) {
		return cmdline.Usagef("--dry-run=%s is none of client, server", c.dryRun)
	}
	var err error
	if c.namespace, err = c.env.WorkingNamespace(); err != nil {
		if c.dryRun != dryRunClient {
			return err
		}
		c.namespace = "default" // A dry run on the client works without any kubeconfig.
	}
	object, err := makeObject(ctx, c)
	if err != nil {
		return err
	}
	object.SetName(name)
	object.SetNamespace(c.namespace)
	if c.dryRun == dryRunClient {
		return c.print(object)
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.send(ctx, object); err != nil {
		return err
	}
	c.note(ctx)
	return c.print(object)
}

// connect opens the cluster, once.
func (c *creation) connect() error {
	if c.cluster != nil {
		return nil
	}
	var err error
	c.cluster, err = c.env.Connect(newScheme())
	return err
}

func (c *creation) send(ctx context.Context, object *unstructured.Unstructured) error {
	options := []client.CreateOption{fieldOwner}
	if c.dryRun == dryRunServer {
		options = append(options, client.DryRunAll)
	}
	name := object.GetName()
	err := c.cluster.Create(ctx, object, options...)
	if apierrors.IsAlreadyExists(err) {
		err = fmt.Errorf("%s %s is there already in namespace %s", c.noun.word, name, c.namespace)
		return cmdline.Advise(err, "look at it with `knit %s describe %s -n %s`; to replace it, delete it first", c.noun.word, name, c.namespace)
	}
	if err != nil {
		return explain(fmt.Errorf("create %s %s in namespace %s: %w", c.noun.word, name, c.namespace, err))
	}
	return nil
}

// print writes the object in the format asked for. For people it says that the
// object was created, or names it when it was not.
func (c *creation) print(object *unstructured.Unstructured) error {
	format := c.format
	if format == cmdline.Wide {
		format = cmdline.Text
	}
	if format == cmdline.Text && c.dryRun != dryRunNone {
		format = cmdline.Name
	}
	if done, err := (cmdline.Printer{Scheme: newScheme(), Out: c.env.Out}).One(format, object); done {
		return err
	}
	fmt.Fprintf(c.env.Out, "%s %s created\n", c.noun.word, object.GetName())
	return nil
}
