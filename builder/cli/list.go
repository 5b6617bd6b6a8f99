package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func listCommand(env *cmdline.Env) *cobra.Command {
	var everywhere, bases, watch bool
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:               "list [function]",
		Aliases:           []string{"ls"},
		Short:             "List builds, or which function runs on which base",
		Example:           "  knit build list hello\n  knit build list --base -A",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			cluster, err := env.Connect(newScheme())
			if err != nil {
				return err
			}
			namespace, function := cluster.Namespace, ""
			if everywhere {
				namespace = ""
			}
			if len(args) > 0 {
				function = args[0]
			}
			show := func(env *cmdline.Env) error {
				builds, err := buildsOf(cmd.Context(), cluster, namespace, function)
				if err != nil {
					return err
				}
				if bases {
					return listBases(cmd.Context(), env, cluster, namespace, function, builds, format)
				}
				return listBuilds(env, builds, everywhere, format)
			}
			if watch {
				return cmdline.Watch(cmd.Context(), env, cluster, format, &v1alpha1.BuildList{}, show, client.InNamespace(namespace))
			}
			return show(env)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "builds of all namespaces")
	cmd.Flags().BoolVar(&bases, "base", false, "show the base and the builder of each function's image instead")
	cmdline.AddWatch(cmd, &watch)
	format.AddOutput(cmd)
	return cmd
}

func listBuilds(env *cmdline.Env, builds []v1alpha1.Build, everywhere bool, format cmdline.Format) error {
	objects := make([]client.Object, 0, len(builds))
	for i := range builds {
		objects = append(objects, &builds[i])
	}
	if done, err := (cmdline.Printer{Scheme: newScheme(), Out: env.Out}).List(format, objects); done {
		return err
	}
	if len(builds) == 0 {
		fmt.Fprintln(env.Err, "No builds. Build a project: knit build samples/hello")
		return nil
	}
	table := cmdline.Table{Columns: []string{"NAME", "FUNCTION", "STATE", "DECISION", "TOOK", "AGE", "CACHE", "IMAGE"}, WideFrom: 6}
	if everywhere {
		table.Columns = append([]string{"NAMESPACE"}, table.Columns...)
		table.WideFrom++
	}
	for i := range builds {
		row := buildRow(&builds[i], env.Now())
		if everywhere {
			row = append([]string{builds[i].Namespace}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	return table.Write(env.Out, format)
}

func buildRow(b *v1alpha1.Build, now time.Time) []string {
	word, _ := state(b)
	why, lasted, cache := "", "", ""
	if d := b.Status.Decision; d != nil {
		why = d.Reason
	}
	if b.Spec.Rebase != nil {
		why = "rebase"
	}
	if b.Status.StartTime != nil && b.Status.FinishTime != nil {
		lasted = b.Status.FinishTime.Sub(b.Status.StartTime.Time).String()
	}
	if b.Status.CacheBytes != nil {
		cache = cmdline.Bytes(*b.Status.CacheBytes)
	}
	return []string{b.Name, b.Spec.Function, word, why, lasted, duration.HumanDuration(now.Sub(b.CreationTimestamp.Time)), cache, b.Status.Image}
}

// listBases shows which function runs on which base, made by which builder.
func listBases(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster, namespace, only string, builds []v1alpha1.Build, format cmdline.Format) error {
	var functions v1alpha1.FunctionList
	if err := c.List(ctx, &functions, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list functions: %w", err)
	}
	byName := map[client.ObjectKey]*v1alpha1.Build{}
	for i := range builds {
		byName[client.ObjectKeyFromObject(&builds[i])] = &builds[i]
	}
	table := cmdline.Table{Columns: []string{"NAMESPACE", "FUNCTION", "BASE", "BUILD", "BUILDER"}, WideFrom: 4}
	for _, fn := range functions.Items {
		if only != "" && fn.Name != only {
			continue
		}
		row := []string{fn.Namespace, fn.Name, "", fn.Status.BuildRef, ""}
		if b := byName[client.ObjectKey{Namespace: fn.Namespace, Name: fn.Status.BuildRef}]; b != nil {
			row[2], row[4] = b.Status.RunImage, decision.Builder(b)
		}
		table.Rows = append(table.Rows, row)
	}
	if format != cmdline.Text && format != cmdline.Wide {
		return cmdline.Usagef("--base is a table; for -o %s list the builds without it, where status.runImage is the base", format)
	}
	return table.Write(env.Out, format)
}
