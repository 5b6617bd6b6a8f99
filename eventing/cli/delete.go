package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// deletion is one run of a delete command.
type deletion struct {
	cmdline.Deletion
	noun noun
	kind string
}

// deleteCommand deletes objects of a noun.
func deleteCommand(env *cmdline.Env, n noun) *cobra.Command {
	d := &deletion{Deletion: cmdline.Deletion{Env: env}, noun: n}
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete " + n.plural + " and wait until they are gone",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeNames(env, n, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := d.Bound(cmd.Context())
			defer cancel()
			return d.run(ctx, args)
		},
	}
	d.AddFlags(cmd)
	addKind(env, cmd, n, &d.kind)
	return cmd
}

// run deletes one after another. One absent name must not keep the others alive.
func (d *deletion) run(ctx context.Context, names []string) error {
	cluster, kinds, err := connectTo(ctx, d.Env, d.noun, d.kind)
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		object, err := d.noun.find(ctx, cluster, kinds, name)
		if err == nil {
			err = d.one(ctx, cluster, object)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (d *deletion) one(ctx context.Context, c *cmdline.Cluster, object *unstructured.Unstructured) error {
	word, name := d.noun.word, object.GetName()
	return explain(d.One(ctx, c, object, word+" "+name, fmt.Sprintf("knit %s describe %s -n %s -o yaml", word, name, object.GetNamespace())))
}
