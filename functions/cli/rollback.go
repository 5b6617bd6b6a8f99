package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func rollbackCommand(env *cmdline.Env) *cobra.Command {
	var to string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Send requests to an older revision again, without a build",
		Long: "Send requests to an older revision again, without a build.\n\n" +
			"The rollback ends by itself when the next revision is ready: deploy the repaired code as always.\n" +
			"To end it earlier: knit traffic NAME latest=100.",
		Example:           "  knit rollback hello\n  knit rollback hello --to hello-00003",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return rollback(ctx, env, args[0], to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "revision to return to (default: the newest ready one before the one that answers)")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up waiting after this long")
	_ = cmd.RegisterFlagCompletionFunc("to", completeRevisions(env))
	return cmd
}

func rollback(ctx context.Context, env *cmdline.Env, name, to string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	revisions, err := getRevisions(ctx, cluster, name)
	if err != nil {
		return err
	}
	target, err := rollbackTarget(function, revisions, to)
	if err != nil {
		return err
	}
	progress := cmdline.NewProgress(env)
	err = changeFunction(ctx, cluster, function, func(spec *v1alpha1.FunctionSpec) {
		spec.Rollback = &v1alpha1.Rollback{From: function.Status.LatestReadyRevision, To: target}
	})
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, env, cluster, function); err != nil {
		return err
	}
	progress.Done("Rolled back", "%s: revision %s answers", name, target)
	fmt.Fprintln(env.Out, function.Status.URL)
	return nil
}

// rollbackTarget chooses the revision to return to. Revisions are sorted, the
// newest first.
func rollbackTarget(function *v1alpha1.Function, revisions []servingv1.Revision, wanted string) (string, error) {
	answering := function.Status.LatestReadyRevision
	if r := function.Spec.Rollback; r != nil && r.From == answering {
		answering = r.To // a second rollback goes one further
	}
	older := false
	for i := range revisions {
		r := &revisions[i]
		switch {
		case wanted != "" && r.Name == wanted && r.Name == function.Status.LatestReadyRevision:
			return "", cmdline.Advise(fmt.Errorf("revision %s is the newest of function %s", wanted, function.Name),
				"end a rollback with `knit traffic %s latest=100`", function.Name)
		case wanted != "" && r.Name == wanted && !r.IsReady():
			return "", cmdline.Advise(fmt.Errorf("revision %s of function %s is not ready", wanted, function.Name),
				"choose another from `knit revisions %s`", function.Name)
		case wanted != "" && r.Name == wanted, wanted == "" && older && r.IsReady():
			return r.Name, nil
		}
		older = older || r.Name == answering
	}
	if wanted != "" {
		return "", cmdline.Advise(cmdline.NotFound(fmt.Errorf("function %s has no revision %s", function.Name, wanted)),
			"see its revisions with `knit revisions %s`", function.Name)
	}
	return "", cmdline.Advise(cmdline.NotFound(fmt.Errorf("function %s has no ready revision before %s", function.Name, answering)),
		"see its revisions with `knit revisions %s`", function.Name)
}
