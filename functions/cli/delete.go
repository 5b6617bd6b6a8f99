package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

func deleteCommand(env *cmdline.Env) *cobra.Command {
	var timeout time.Duration
	var noWait bool
	cmd := &cobra.Command{
		Use:   "delete NAME|FOLDER...",
		Short: "Delete functions, or all that a project deployed",
		Long: "Delete functions, or all that a project deployed, and wait until they are gone.\n\n" +
			"An argument with a slash, or . or .., is a folder: every object of its " + project.FileName + " is deleted,\n" +
			"and it does not matter which of them exist. Another argument is the name of a function.",
		Example:           "  knit delete hello\n  knit delete ./samples/hello",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeFunctions(env, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return deleteAll(ctx, env, args, !noWait)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "give up waiting after this long")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return when the deletion is accepted")
	return cmd
}

// doomed is an object to delete. One that a manifest names may be absent.
type doomed struct {
	object   client.Object
	mayBeOff bool
}

func deleteAll(ctx context.Context, env *cmdline.Env, args []string, wait bool) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	var all []doomed
	for _, arg := range args {
		found, err := toDelete(cluster, env, arg)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	// One absent name must not keep the others alive.
	var failures []error
	for _, d := range all {
		failures = append(failures, deleteOne(ctx, cluster, env, d, wait))
	}
	return errors.Join(failures...)
}

// toDelete reads one argument.
func toDelete(cluster *cmdline.Cluster, env *cmdline.Env, arg string) ([]doomed, error) {
	if arg != "." && arg != ".." && !strings.Contains(arg, "/") {
		function := &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: arg}}
		return []doomed{{object: function}}, nil
	}
	m, err := project.Read(arg, cluster.Namespace, env.Namespace != "")
	if err != nil {
		return nil, err
	}
	var senders, functions []doomed
	for _, doc := range m.Documents {
		d := doomed{object: doc.Object(), mayBeOff: true}
		if doc.Function == nil {
			senders = append(senders, d)
			continue
		}
		functions = append(functions, d)
	}
	// Functions last: what sends to them would only fail to reach what is gone.
	return append(senders, functions...), nil
}

func deleteOne(ctx context.Context, c *cmdline.Cluster, env *cmdline.Env, d doomed, wanted bool) error {
	kind := kindOf(c.Scheme(), d.object)
	name, key := kind+" "+d.object.GetName(), client.ObjectKeyFromObject(d.object)
	// In the foreground the object goes last, so that when it is gone its
	// Knative Service and triggers are gone too.
	err := c.Delete(ctx, d.object, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if apierrors.IsNotFound(err) && d.mayBeOff && cmdline.Code(err) == cmdline.ExitNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s in namespace %s: %w", name, key.Namespace, err)
	}
	if wanted {
		err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
			err := c.Get(ctx, key, d.object)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	}
	if err != nil {
		err = fmt.Errorf("wait for %s to go: %w", name, err)
		return cmdline.Advise(err, "it is being deleted; see what holds it with `kubectl get %s %s -n %s -o yaml`", kind, key.Name, key.Namespace)
	}
	fmt.Fprintf(env.Out, "%s deleted\n", name)
	return nil
}

// kindOf is the kind of an object as people type it.
func kindOf(scheme *runtime.Scheme, object client.Object) string {
	kind, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return "object"
	}
	return strings.ToLower(kind.Kind)
}
