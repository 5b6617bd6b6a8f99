package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func cancelCommand(env *cmdline.Env) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "cancel BUILD|FUNCTION",
		Short: "End a build that runs or waits; it stays in the list as Cancelled",
		Long: "End a build that runs or waits; it stays in the list as Cancelled. For a function, all its builds that have\n" +
			"not ended are. What runs of the function goes on running.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeBuilds(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return cancelBuilds(ctx, env, args[0])
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up waiting after this long")
	return cmd
}

func cancelBuilds(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	found, err := findBuild(ctx, cluster, name)
	if err != nil {
		return err
	}
	builds := []v1alpha1.Build{*found}
	if found.Name != name {
		if builds, err = buildsOf(ctx, cluster, cluster.Namespace, name); err != nil {
			return err
		}
	}
	cancelled := 0
	for i := range builds {
		b := &builds[i]
		if ended, _ := b.Done(); ended {
			continue
		}
		if err := askToCancel(ctx, cluster, b); err != nil {
			return err
		}
		if err := awaitEnd(ctx, cluster, b); err != nil {
			return err
		}
		cancelled++
		word, _ := state(b)
		fmt.Fprintf(env.Out, "build %s %s\n", b.Name, strings.ToLower(word))
	}
	if cancelled == 0 {
		fmt.Fprintf(env.Err, "Nothing to cancel: build %s has ended.\n", found.Name)
	}
	return nil
}

// askToCancel marks a build; the controller ends it.
func askToCancel(ctx context.Context, c *cmdline.Cluster, b *v1alpha1.Build) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, v1alpha1.AnnotationCancel)
	if err := c.Patch(ctx, b, client.RawPatch("application/merge-patch+json", patch), fieldOwner); err != nil {
		return fmt.Errorf("cancel build %s in namespace %s: %w", b.Name, b.Namespace, err)
	}
	return nil
}

func awaitEnd(ctx context.Context, c *cmdline.Cluster, b *v1alpha1.Build) error {
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			return false, err
		}
		ended, _ := b.Done()
		return ended, nil
	})
	return wrap(client.IgnoreNotFound(err), "wait for the end of build %s", b.Name)
}

// rebasing is one run of `knit build rebase`.
type rebasing struct {
	env      *cmdline.Env
	all      bool
	noWait   bool
	runImage string
	timeout  time.Duration
	format   cmdline.Format
}

func rebaseCommand(env *cmdline.Env) *cobra.Command {
	r := &rebasing{env: env}
	cmd := &cobra.Command{
		Use:   "rebase [FUNCTION...]",
		Short: "Put functions on a newer base without building; they roll to the new images",
		Long: "Put functions on a newer base without building; they roll to the new images.\n\n" +
			"The base is the newest run image of the kind that the function stands on, or the one of --run-image.",
		Example:           "  knit build rebase hello\n  knit build rebase --all",
		ValidArgsFunction: completeFunctions(env, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.all == (len(args) > 0) {
				return cmdline.Usagef("name functions, or all of the namespace with --all")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), r.timeout)
			defer cancel()
			return r.run(ctx, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.all, "all", false, "all functions of the namespace")
	flags.StringVar(&r.runImage, "run-image", "", "run image to stand on; the platform must allow it")
	flags.BoolVar(&r.noWait, "no-wait", false, "return when the rebases are asked for")
	flags.DurationVar(&r.timeout, "timeout", 15*time.Minute, "give up waiting after this long")
	r.format.AddOutput(cmd)
	return cmd
}

func (r *rebasing) run(ctx context.Context, names []string) error {
	cluster, err := r.env.Connect(newScheme())
	if err != nil {
		return err
	}
	targets, err := r.targets(ctx, cluster, names)
	if err != nil {
		return err
	}
	progress := cmdline.NewProgress(r.env)
	defer progress.Clear()
	var builds []*v1alpha1.Build
	for i := range targets {
		b := makeRebase(&targets[i], r.runImage)
		if err := cluster.Create(ctx, b, fieldOwner); err != nil {
			return fmt.Errorf("ask for a rebase of %s in namespace %s: %w", b.Spec.Function, b.Namespace, err)
		}
		builds = append(builds, b)
	}
	if r.noWait {
		return printImages(r.env, progress, cmdline.Name, builds)
	}
	if err := follow(ctx, cluster, progress, builds); err != nil {
		if interrupted(err) {
			return cmdline.Exit(errors.New("interrupted; the rebases go on"), cmdline.ExitInterrupted)
		}
		return err
	}
	return printImages(r.env, progress, r.format, builds)
}

// targets are the builds whose images the functions run.
func (r *rebasing) targets(ctx context.Context, c *cmdline.Cluster, names []string) ([]v1alpha1.Build, error) {
	if r.all {
		var functions v1alpha1.FunctionList
		if err := c.List(ctx, &functions, client.InNamespace(c.Namespace)); err != nil {
			return nil, fmt.Errorf("list functions: %w", err)
		}
		for _, fn := range functions.Items {
			if fn.Status.BuildRef != "" {
				names = append(names, fn.Name)
			}
		}
	}
	var targets []v1alpha1.Build
	for _, name := range names {
		b, err := findBuild(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if _, succeeded := b.Done(); !succeeded {
			return nil, cmdline.Advise(fmt.Errorf("build %s of function %s has left no image to rebase", b.Name, name), "see why with `knit build explain %s`", name)
		}
		targets = append(targets, *b)
	}
	return targets, nil
}

// makeRebase asks for the image of a build on another base. Its inputs stay the
// same, so the function takes the new image for the newest of them.
func makeRebase(b *v1alpha1.Build, runImage string) *v1alpha1.Build {
	_, digest, _ := strings.Cut(b.Status.Image, "@")
	spec := b.Spec
	spec.BuilderImage, spec.Background, spec.Force = decision.Builder(b), false, false
	spec.Rebase = &v1alpha1.BuildRebase{Digest: digest, RunImage: runImage}
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, GenerateName: b.Spec.Function + "-", Labels: map[string]string{v1alpha1.LabelFunction: b.Spec.Function},
		},
		Spec: spec,
	}
}
