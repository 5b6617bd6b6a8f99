package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// listing is one run of a list command.
type listing struct {
	noun       noun
	everywhere bool
	watch      bool
	format     cmdline.Format
}

// listCommand lists the objects of a noun.
func listCommand(env *cmdline.Env, n noun) *cobra.Command {
	l := &listing{noun: n}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List " + n.plural,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), env) },
	}
	cmd.Flags().BoolVarP(&l.everywhere, "all-namespaces", "A", false, n.plural+" of all namespaces")
	cmdline.AddWatch(cmd, &l.watch)
	l.format.AddOutput(cmd)
	return cmd
}

func (l *listing) run(ctx context.Context, env *cmdline.Env) error {
	cluster, kinds, err := connect(ctx, env, l.noun)
	if err != nil {
		return err
	}
	namespace := cluster.Namespace
	if l.everywhere {
		namespace = ""
	}
	show := func(env *cmdline.Env) error { return l.show(ctx, env, cluster, kinds, namespace) }
	if !l.watch {
		return show(env)
	}
	watching := *cluster
	watching.WithWatch = together{WithWatch: cluster.WithWatch, kinds: kinds}
	return cmdline.Watch(ctx, env, &watching, l.format, kinds[0].list(), show, client.InNamespace(namespace))
}

// show lists once; an empty namespace stands for all.
func (l *listing) show(ctx context.Context, env *cmdline.Env, cluster *cmdline.Cluster, kinds []kind, namespace string) error {
	found, err := fetch(ctx, env, cluster, kinds, namespace)
	if err != nil {
		return err
	}
	objects := make([]client.Object, 0, len(found))
	for _, object := range found {
		objects = append(objects, object)
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).List(l.format, objects); done {
		return err
	}
	if len(found) == 0 {
		where := "in namespace " + namespace
		if l.everywhere {
			where = "in any namespace"
		}
		fmt.Fprintf(env.Err, "No %s %s. %s\n", l.noun.plural, where, l.noun.hint)
		return nil
	}
	return l.table(env, found).Write(env.Out, l.format)
}

// fetch lists all kinds. One that cannot be listed hides no other.
func fetch(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster, kinds []kind, namespace string) ([]*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	var failures []error
	for _, k := range kinds {
		list := k.list()
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			failures = append(failures, explain(fmt.Errorf("list objects of kind %s: %w", k.Kind, err)))
			continue
		}
		for i := range list.Items {
			found = append(found, &list.Items[i])
		}
	}
	if len(failures) == len(kinds) {
		return nil, errors.Join(failures...)
	}
	for _, err := range failures {
		fmt.Fprintf(env.Err, "note: %v\n", err)
	}
	return found, nil
}

func (l *listing) table(env *cmdline.Env, objects []*unstructured.Unstructured) cmdline.Table {
	columns := append([]string{"NAME", "READY", "REASON", "AGE"}, l.noun.columns...)
	table := cmdline.Table{WideFrom: len(columns), Columns: append(columns, l.noun.wide...)}
	if l.everywhere {
		table.Columns = append([]string{"NAMESPACE"}, table.Columns...)
		table.WideFrom++
	}
	for _, object := range objects {
		ready, reason := readiness(object)
		row := append([]string{object.GetName(), ready, reason, age(env, object)}, l.noun.cells(object)...)
		if l.everywhere {
			row = append([]string{object.GetNamespace()}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

func age(env *cmdline.Env, object client.Object) string {
	created := object.GetCreationTimestamp()
	if created.IsZero() {
		return ""
	}
	return duration.HumanDuration(env.Now().Sub(created.Time))
}
