package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func revisionsCommand(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	var watch bool
	cmd := &cobra.Command{
		Use:   "revisions NAME",
		Short: "List the revisions of a function, the newest first",
		Long: "List the revisions of a function, the newest first, and the share of requests that each gets.\n\n" +
			"Every change of code or settings makes a revision. Knative keeps a number of old ones (its ConfigMap config-gc).",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return listRevisions(cmd.Context(), env, args[0], watch, format)
		},
	}
	cmdline.AddWatch(cmd, &watch)
	format.AddOutput(cmd)
	return cmd
}

func listRevisions(ctx context.Context, env *cmdline.Env, name string, watch bool, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	show := func(env *cmdline.Env) error { return showRevisions(ctx, env, cluster, name, format) }
	if watch {
		return cmdline.Watch(ctx, env, cluster, format, &servingv1.RevisionList{}, show,
			client.InNamespace(cluster.Namespace), client.MatchingLabels{serving.ServiceLabelKey: name})
	}
	return show(env)
}

func showRevisions(ctx context.Context, env *cmdline.Env, cluster *cmdline.Cluster, name string, format cmdline.Format) error {
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	revisions, err := getRevisions(ctx, cluster, name)
	if err != nil {
		return err
	}
	objects := make([]client.Object, 0, len(revisions))
	for i := range revisions {
		objects = append(objects, &revisions[i])
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).List(format, objects); done {
		return err
	}
	if len(revisions) == 0 {
		fmt.Fprintf(env.Err, "Function %s has no revision yet. See why: knit describe %s\n", name, name)
		return nil
	}
	return revisionTable(function, revisions, env.Now()).Write(env.Out, format)
}

// getRevisions returns the revisions of a function, the newest first.
func getRevisions(ctx context.Context, c *cmdline.Cluster, function string) ([]servingv1.Revision, error) {
	var list servingv1.RevisionList
	err := c.List(ctx, &list, client.InNamespace(c.Namespace), client.MatchingLabels{serving.ServiceLabelKey: function})
	if err != nil {
		return nil, fmt.Errorf("list the revisions of function %s in namespace %s: %w", function, c.Namespace, err)
	}
	slices.SortFunc(list.Items, func(a, b servingv1.Revision) int {
		return cmp.Or(cmp.Compare(generation(b), generation(a)), strings.Compare(a.Name, b.Name))
	})
	return list.Items, nil
}

// generation is the number of a revision; Knative counts them.
func generation(r servingv1.Revision) int {
	n, _ := strconv.Atoi(r.Labels[serving.ConfigurationGenerationLabelKey])
	return n
}

func revisionTable(function *v1alpha1.Function, revisions []servingv1.Revision, now time.Time) cmdline.Table {
	table := cmdline.Table{Columns: []string{"NAME", "TRAFFIC", "TAGS", "READY", "REASON", "REPLICAS", "AGE", "IMAGE"}, WideFrom: 7}
	for i := range revisions {
		r := &revisions[i]
		percent, tags := shareOf(function, r.Name)
		status, reason := "Unknown", ""
		if ready := r.Status.GetCondition(apis.ConditionReady); ready != nil {
			status, reason = string(ready.Status), ready.Reason
		}
		replicas := ""
		if r.Status.ActualReplicas != nil {
			replicas = strconv.Itoa(int(*r.Status.ActualReplicas))
		}
		image := ""
		if len(r.Spec.Containers) > 0 {
			image = r.Spec.Containers[0].Image
		}
		table.Rows = append(table.Rows, []string{r.Name, percent, tags, status, reason, replicas, age(r, now), image})
	}
	return table
}

// shareOf is what a revision gets of the requests, and its tags.
func shareOf(function *v1alpha1.Function, revision string) (percent, tags string) {
	var sum int64
	var names []string
	for _, share := range function.Status.Traffic {
		if share.Revision != revision {
			continue
		}
		sum += share.Percent
		if share.Tag != "" {
			names = append(names, share.Tag)
		}
	}
	if sum > 0 {
		percent = fmt.Sprintf("%d%%", sum)
	}
	return percent, strings.Join(names, ",")
}

// completeRevisions completes names of the revisions of the function that the
// command line names already.
func completeRevisions(env *cmdline.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		of := client.MatchingLabels{serving.ServiceLabelKey: args[0]}
		names := cmdline.CompleteNames(env, newScheme, func() client.ObjectList { return &servingv1.RevisionList{} }, false, of)
		return names(cmd, nil, "")
	}
}
