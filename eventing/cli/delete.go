package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// pollEvery is how often a wait looks again.
const pollEvery = 250 * time.Millisecond

// deletion is one run of a delete command.
type deletion struct {
	noun    noun
	kind    string
	timeout time.Duration
	noWait  bool
}

// deleteCommand deletes objects of a noun.
func deleteCommand(env *cmdline.Env, n noun) *cobra.Command {
	d := &deletion{noun: n}
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete " + n.plural + " and wait until they are gone",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeNames(env, n, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), d.timeout)
			defer cancel()
			return d.run(ctx, env, args)
		},
	}
	cmd.Flags().DurationVar(&d.timeout, "timeout", 2*time.Minute, "give up waiting after this long")
	cmd.Flags().BoolVar(&d.noWait, "no-wait", false, "return when the deletion is accepted")
	addKind(env, cmd, n, &d.kind)
	return cmd
}

// run deletes one after another. One absent name must not keep the others alive.
func (d *deletion) run(ctx context.Context, env *cmdline.Env, names []string) error {
	cluster, kinds, err := connectTo(ctx, env, d.noun, d.kind)
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		object, err := d.noun.find(ctx, cluster, kinds, name)
		if err == nil {
			err = d.one(ctx, env, cluster, object)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (d *deletion) one(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster, object *unstructured.Unstructured) error {
	name, key := d.noun.word+" "+object.GetName(), client.ObjectKeyFromObject(object)
	// The uid keeps an object that took the name meanwhile. In the foreground
	// the object goes last, so that what Knative made for it is gone too.
	uid := object.GetUID()
	err := c.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &uid})
	if client.IgnoreNotFound(err) != nil {
		return explain(fmt.Errorf("delete %s in namespace %s: %w", name, key.Namespace, err))
	}
	if !d.noWait {
		err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
			err := c.Get(ctx, key, object)
			return apierrors.IsNotFound(err) || err == nil && object.GetUID() != uid, client.IgnoreNotFound(err)
		})
		if err != nil {
			err = fmt.Errorf("wait for %s to go: %w", name, err)
			return cmdline.Advise(err, "it is being deleted; see what holds it with `knit %s describe %s -n %s -o yaml`", d.noun.word, key.Name, key.Namespace)
		}
	}
	fmt.Fprintf(env.Out, "%s deleted\n", name)
	return nil
}
