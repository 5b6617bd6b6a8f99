package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// results are what may have become of a planned time.
var results = []string{
	string(v1alpha1.ActionDelivered), string(v1alpha1.ActionFailed), string(v1alpha1.ActionMissed),
	string(v1alpha1.ActionSkipped), string(v1alpha1.ActionCancelled),
}

// history is one run of `knit schedule history`.
type history struct {
	env    *cmdline.Env
	wanted []string
	watch  bool
	format cmdline.Format
}

func historyCommand(env *cmdline.Env) *cobra.Command {
	h := &history{env: env}
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "Show what became of the last planned times of a schedule, newest first",
		Long: "Show what became of the last planned times of a schedule, newest first.\n\n" +
			"The delay is that from the planned time to when the sink had taken the event, or it was given up. Times\n" +
			"that were missed or skipped together are one line.",
		Example:           "  knit schedule history report\n  knit schedule history report --result Failed,Missed -o json\n  knit schedule history report --watch",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeSchedules(env, false),
		RunE:              func(cmd *cobra.Command, args []string) error { return h.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringSliceVar(&h.wanted, "result", nil, "only these results: "+strings.Join(results, ", "))
	_ = cmd.RegisterFlagCompletionFunc("result", cobra.FixedCompletions(results, cobra.ShellCompDirectiveNoFileComp))
	cmdline.AddWatch(cmd, &h.watch)
	h.format.AddOutput(cmd)
	return cmd
}

func (h *history) run(ctx context.Context, name string) error {
	for i, word := range h.wanted {
		known, ok := oneOf(results, word)
		if !ok {
			return cmdline.Usagef("--result %q is none of %s", word, strings.Join(results, ", "))
		}
		h.wanted[i] = known
	}
	cluster, err := h.env.Connect(newScheme())
	if err != nil {
		return err
	}
	show := func(env *cmdline.Env) error { return h.show(ctx, env, cluster, name) }
	if h.watch {
		return cmdline.Watch(ctx, h.env, cluster, h.format, &v1alpha1.ScheduleList{}, show,
			client.InNamespace(cluster.Namespace), client.MatchingFields{"metadata.name": name})
	}
	return show(h.env)
}

func (h *history) show(ctx context.Context, env *cmdline.Env, cluster *cmdline.Cluster, name string) error {
	s, err := getSchedule(ctx, cluster, name)
	if err != nil {
		return err
	}
	actions := []v1alpha1.ScheduleAction{}
	for _, a := range s.Status.LastActions {
		if len(h.wanted) == 0 || slices.Contains(h.wanted, string(a.Result)) {
			actions = append(actions, a)
		}
	}
	if done, err := cmdline.PrintValue(env.Out, h.format, map[string]any{"items": actions}); done {
		return err
	}
	if h.format == cmdline.Name {
		for _, a := range actions {
			if a.ID != "" {
				fmt.Fprintln(env.Out, cmdline.Plain(a.ID))
			}
		}
		return nil
	}
	if len(actions) == 0 {
		fmt.Fprintf(env.Err, "%s of schedule %s yet.\n", none(h.wanted), name)
		return nil
	}
	return actionTable(actions).Write(env.Out, h.format)
}

// none says that nothing is in the history, or nothing of what was asked for.
func none(wanted []string) string {
	if len(wanted) == 0 {
		return "No actions"
	}
	return "No actions that ended as " + strings.Join(wanted, " or ")
}

func actionTable(actions []v1alpha1.ScheduleAction) cmdline.Table {
	table := cmdline.Table{Columns: []string{"PLANNED", "DELAY", "RESULT", "ATTEMPTS", "REQUEST", "MESSAGE", "ID"}, WideFrom: 6}
	for _, a := range actions {
		table.Rows = append(table.Rows, []string{
			plannedText(a), delayText(a), string(a.Result), fmt.Sprint(a.Attempts), a.Request, a.Message, a.ID,
		})
	}
	return table
}
