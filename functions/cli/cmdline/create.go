package cmdline

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldOwner is the command line's name in managed fields.
const FieldOwner = client.FieldOwner("knit-cli")

// Creation is what all create commands have in common.
type Creation struct {
	Env *Env
	// Noun is the group of the command, as in `knit broker create`.
	Noun   string
	DryRun DryRun
	Format Format
}

// AddFlags adds --dry-run and --output.
func (c *Creation) AddFlags(cmd *cobra.Command) {
	c.DryRun.AddFlag(cmd, "create nothing; client: print the object; server: let the API server check it first")
	c.Format.AddOutput(cmd)
}

// Namespace is where the object goes. A dry run on the client works without any
// kubeconfig.
func (c *Creation) Namespace() (string, error) {
	if err := c.DryRun.Check(); err != nil {
		return "", err
	}
	namespace, err := c.Env.WorkingNamespace()
	if err != nil && c.DryRun == DryRunClient {
		return "default", nil
	}
	return namespace, err
}

// Send creates the object, unless it is a dry run.
func (c *Creation) Send(ctx context.Context, cluster *Cluster, object client.Object) error {
	options := []client.CreateOption{FieldOwner}
	if c.DryRun == DryRunServer {
		options = append(options, client.DryRunAll)
	}
	// The answer may leave the object empty.
	name, namespace := object.GetName(), object.GetNamespace()
	err := cluster.Create(ctx, object, options...)
	switch {
	case apierrors.IsAlreadyExists(err):
		err = fmt.Errorf("%s %s is there already in namespace %s", c.Noun, name, namespace)
		return Advise(err, "look at it with `knit %s describe %s -n %s`; to replace it, delete it first", c.Noun, name, namespace)
	case err != nil:
		return fmt.Errorf("create %s %s in namespace %s: %w", c.Noun, name, namespace, err)
	}
	return nil
}

// Print writes the object in the format asked for. For people it says that the
// object was created, or names it when it was not. Created reports the first of
// these, after which a command may tell more.
func (c *Creation) Print(scheme *runtime.Scheme, object client.Object) (created bool, err error) {
	format := c.Format
	if format == Wide {
		format = Text
	}
	if format == Text && c.DryRun != DryRunNone {
		format = Name
	}
	if done, err := (Printer{Scheme: scheme, Out: c.Env.Out}).One(format, object); done {
		return false, err
	}
	fmt.Fprintf(c.Env.Out, "%s %s created\n", c.Noun, object.GetName())
	return true, nil
}
