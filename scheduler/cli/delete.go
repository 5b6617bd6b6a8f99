package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func deleteCommand(env *cmdline.Env) *cobra.Command {
	var timeout time.Duration
	var noWait bool
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete schedules and wait until they are gone",
		Example:           "  knit schedule delete report\n  knit schedule delete report poll --no-wait",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeSchedules(env, true),
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

// deleteAll deletes one after another. One absent name must not keep the others
// alive.
func deleteAll(ctx context.Context, env *cmdline.Env, names []string, wanted bool) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		failures = append(failures, deleteOne(ctx, env, cluster, name, wanted))
	}
	return errors.Join(failures...)
}

func deleteOne(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster, name string, wanted bool) error {
	s, err := getSchedule(ctx, c, name)
	if err != nil {
		return err
	}
	// The uid keeps a schedule that took the name meanwhile.
	uid, key := s.UID, client.ObjectKeyFromObject(s)
	err = c.Delete(ctx, s, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &uid})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete schedule %s in namespace %s: %w", name, c.Namespace, err)
	}
	if wanted {
		err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
			err := c.Get(ctx, key, s)
			return apierrors.IsNotFound(err) || err == nil && s.UID != uid, client.IgnoreNotFound(err)
		})
		if err != nil {
			err = fmt.Errorf("wait for schedule %s to go: %w", name, err)
			return cmdline.Advise(err, "it is being deleted; see what holds it with `knit schedule describe %s -n %s -o yaml`", name, c.Namespace)
		}
	}
	fmt.Fprintf(env.Out, "schedule %s deleted\n", name)
	return nil
}
