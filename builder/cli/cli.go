// Package cli holds the commands about builds and the builder: knit build with
// its subcommands, and knit builder create and inspect. main.go assembles them.
// Those of knit build speak to the Kubernetes API and to the extension API of
// the function service with the caller's kubeconfig and nothing else; those of
// knit builder speak to a registry only. None of them links a controller.
package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// fieldOwner is the command line's name in managed fields.
const fieldOwner = client.FieldOwner("knit-cli")

// pollEvery is how often a wait looks again.
const pollEvery = 250 * time.Millisecond

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	build := buildCommand(env)
	build.AddCommand(listCommand(env), logsCommand(env), explainCommand(env), cancelCommand(env), rebaseCommand(env), sbomCommand(env))
	return []*cobra.Command{build, cmdline.Parent("builder", "Make and look at the image that builds functions",
		createCommand(env), inspectCommand(env))}
}

// newScheme holds the kinds that these commands read and write.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// buildsOf are the Builds of a function, the newest first.
func buildsOf(ctx context.Context, c *cmdline.Cluster, namespace, function string) ([]v1alpha1.Build, error) {
	var list v1alpha1.BuildList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list builds in namespace %s: %w", namespace, err)
	}
	builds := slices.DeleteFunc(list.Items, func(b v1alpha1.Build) bool { return function != "" && b.Spec.Function != function })
	slices.SortStableFunc(builds, func(a, b v1alpha1.Build) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return builds, nil
}

// findBuild finds a build by its name, or the one that a function uses, or its
// newest.
func findBuild(ctx context.Context, c *cmdline.Cluster, name string) (*v1alpha1.Build, error) {
	var build v1alpha1.Build
	err := c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &build)
	if err == nil || !apierrors.IsNotFound(err) || cmdline.Code(err) != cmdline.ExitNotFound {
		return &build, wrap(err, "read build %s in namespace %s", name, c.Namespace)
	}
	builds, err := buildsOf(ctx, c, c.Namespace, name)
	if err != nil {
		return nil, err
	}
	var function v1alpha1.Function
	err = c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &function)
	if client.IgnoreNotFound(err) != nil {
		return nil, wrap(err, "read function %s in namespace %s", name, c.Namespace)
	}
	if i := slices.IndexFunc(builds, func(b v1alpha1.Build) bool { return b.Name == function.Status.BuildRef }); i > 0 {
		return &builds[i], nil
	}
	if len(builds) > 0 {
		return &builds[0], nil
	}
	err = cmdline.NotFound(fmt.Errorf("namespace %s has no build %s and no build of a function %s", c.Namespace, name, name))
	return nil, cmdline.Advise(err, "see what there is with `knit build list -n %s`; a function with source.image is not built", c.Namespace)
}

// wrap adds context to an error that is not nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// state is how a build stands, in a word, and why.
func state(b *v1alpha1.Build) (word, why string) {
	c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionSucceeded)
	switch {
	case c == nil:
		return "Queued", ""
	case c.Status == metav1.ConditionTrue:
		return c.Reason, c.Message
	case c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonCancelled:
		return c.Reason, c.Message
	case c.Status == metav1.ConditionFalse:
		return "Failed", c.Reason + ": " + c.Message
	}
	return c.Reason, c.Message
}

// failed is the error of a build that has left no image.
func failed(b *v1alpha1.Build) error {
	word, why := state(b)
	err := fmt.Errorf("build %s of %s: %s: %s", b.Name, b.Spec.Function, word, why)
	return cmdline.Advise(err, "see the whole log with `knit build logs %s -n %s`", b.Name, b.Namespace)
}

// completeBuilds completes names of builds in the shell.
func completeBuilds(env *cmdline.Env) cobra.CompletionFunc {
	return cmdline.CompleteNames(env, newScheme, func() client.ObjectList { return &v1alpha1.BuildList{} }, false)
}

// completeFunctions completes names of functions in the shell.
func completeFunctions(env *cmdline.Env, many bool) cobra.CompletionFunc {
	return cmdline.CompleteNames(env, newScheme, func() client.ObjectList { return &v1alpha1.FunctionList{} }, many)
}

// interrupted reports whether a person stopped the command.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
