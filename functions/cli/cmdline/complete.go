package cmdline

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// completeTimeout is how long a person waits for the Tab key at most.
const completeTimeout = 3 * time.Second

// CompleteNames completes names of objects in the working namespace; many
// allows more than one argument, and options choose among them.
func CompleteNames(env *Env, scheme func() *runtime.Scheme, list func() client.ObjectList, many bool, options ...client.ListOption) cobra.CompletionFunc {
	return Complete(env, scheme, many, func(ctx context.Context, cluster *Cluster) ([]string, error) {
		objects := list()
		if err := cluster.List(ctx, objects, append(options, client.InNamespace(cluster.Namespace))...); err != nil {
			return nil, err
		}
		var names []string
		_ = meta.EachListItem(objects, func(item runtime.Object) error {
			names = append(names, item.(client.Object).GetName())
			return nil
		})
		return names, nil
	})
}

// Complete completes with whatever names returns; many allows more than one
// argument. It is silent about errors: a cluster out of reach must not garble a
// half-typed line.
func Complete(env *Env, scheme func() *runtime.Scheme, many bool, names func(context.Context, *Cluster) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cluster, err := env.Connect(scheme())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTimeout)
		defer cancel()
		found, _ := names(ctx, cluster)
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
