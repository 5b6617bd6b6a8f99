package cli

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// creation is one run of a create command.
type creation struct {
	cmdline.Creation
	noun      noun
	namespace string
	cluster   *cmdline.Cluster // nil until connected
	needs     []need
}

// maker makes the object of a create command; the name and namespace are set for it.
type maker func(context.Context, *creation) (*unstructured.Unstructured, error)

// createCommand creates an object of a noun. Takes tells what a SINK is, where
// the command has one.
func createCommand(env *cmdline.Env, n noun, short, example, takes string, makeObject maker) *cobra.Command {
	c := &creation{Creation: cmdline.Creation{Env: env, Noun: n.word}, noun: n}
	cmd := &cobra.Command{
		Use:               "create NAME",
		Short:             short,
		Long:              short + ".\n\n" + takes,
		Example:           example,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], makeObject) },
	}
	c.AddFlags(cmd)
	return cmd
}

func (c *creation) run(ctx context.Context, name string, makeObject maker) error {
	var err error
	if c.namespace, err = c.Namespace(); err != nil {
		return err
	}
	object, err := makeObject(ctx, c)
	if err != nil {
		return err
	}
	object.SetName(name)
	object.SetNamespace(c.namespace)
	if c.DryRun == cmdline.DryRunClient {
		return c.print(object)
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.Send(ctx, c.cluster, object); err != nil {
		return explain(err)
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
	c.cluster, err = c.Env.Connect(newScheme())
	return err
}

func (c *creation) print(object *unstructured.Unstructured) error {
	_, err := c.Print(newScheme(), object)
	return err
}
