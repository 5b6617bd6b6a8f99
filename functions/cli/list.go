package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func listCommand(env *cmdline.Env) *cobra.Command {
	var everywhere, watch bool
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List functions with their URLs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), env, everywhere, watch, format)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "functions of all namespaces")
	cmdline.AddWatch(cmd, &watch)
	format.AddOutput(cmd)
	return cmd
}

func list(ctx context.Context, env *cmdline.Env, everywhere, watch bool, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	namespace := cluster.Namespace
	if everywhere {
		namespace = ""
	}
	show := func(env *cmdline.Env) error { return showFunctions(ctx, env, cluster, namespace, format) }
	if watch {
		return cmdline.Watch(ctx, env, cluster, format, &v1alpha1.FunctionList{}, show, client.InNamespace(namespace))
	}
	return show(env)
}

// showFunctions lists the functions of a namespace, or of all when it is empty.
func showFunctions(ctx context.Context, env *cmdline.Env, cluster *cmdline.Cluster, namespace string, format cmdline.Format) error {
	var functions v1alpha1.FunctionList
	if err := cluster.List(ctx, &functions, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list functions: %w", err)
	}
	objects := make([]client.Object, 0, len(functions.Items))
	for i := range functions.Items {
		objects = append(objects, &functions.Items[i])
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).List(format, objects); done {
		return err
	}
	if len(objects) == 0 {
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in any namespace"
		}
		fmt.Fprintf(env.Err, "No functions %s. Deploy one: knit deploy samples/hello\n", where)
		return nil
	}
	return functionTable(functions.Items, namespace == "", env.Now()).Write(env.Out, format)
}

func functionTable(functions []v1alpha1.Function, everywhere bool, now time.Time) cmdline.Table {
	table := cmdline.Table{Columns: []string{"NAME", "URL", "READY", "REASON", "REPLICAS", "AGE", "REVISION", "IMAGE"}, WideFrom: 6}
	if everywhere {
		table.Columns = append([]string{"NAMESPACE"}, table.Columns...)
		table.WideFrom++
	}
	for _, f := range functions {
		ready := currentCondition(f.Status.Conditions, v1alpha1.ConditionReady, f.Generation)
		reason := ready.Reason
		if ready.Status == metav1.ConditionTrue {
			reason = ""
		}
		row := []string{f.Name, f.Status.URL, string(ready.Status), reason, replicas(&f), age(&f, now), f.Status.LatestReadyRevision, f.Status.Image}
		if everywhere {
			row = append([]string{f.Namespace}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

func age(object client.Object, now time.Time) string {
	return duration.HumanDuration(now.Sub(object.GetCreationTimestamp().Time))
}

// replicas is "" while Knative has not said how many run.
func replicas(f *v1alpha1.Function) string {
	if f.Status.Replicas == nil {
		return ""
	}
	return strconv.Itoa(int(*f.Status.Replicas))
}
