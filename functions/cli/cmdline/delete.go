package cmdline

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// PollEvery is how often a wait looks again.
const PollEvery = 250 * time.Millisecond

// Deletion is what all delete commands have in common.
type Deletion struct {
	Env     *Env
	timeout time.Duration
	noWait  bool
}

// AddFlags adds --timeout and --no-wait.
func (d *Deletion) AddFlags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&d.timeout, "timeout", 2*time.Minute, "give up waiting after this long")
	cmd.Flags().BoolVar(&d.noWait, "no-wait", false, "return when the deletion is accepted")
}

// Bound bounds a context by --timeout.
func (d *Deletion) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.timeout)
}

// One deletes an object, waits until it is gone, and says so. What names it to
// people, see is the command that shows what holds it. Absent is no error when
// the object was read before, which its uid shows: it is gone.
//
// The object goes last, so that everything that was made for it is gone, too;
// and its uid keeps an object that took the name meanwhile.
func (d *Deletion) One(ctx context.Context, c *Cluster, object client.Object, what, see string) error {
	uid, key := object.GetUID(), client.ObjectKeyFromObject(object)
	options := []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationForeground)}
	if uid != "" {
		options = append(options, client.Preconditions{UID: &uid})
	}
	err := c.Delete(ctx, object, options...)
	if err != nil && (uid == "" || !apierrors.IsNotFound(err)) {
		return fmt.Errorf("delete %s in namespace %s: %w", what, key.Namespace, err)
	}
	if !d.noWait {
		err = wait.PollUntilContextCancel(ctx, PollEvery, true, func(ctx context.Context) (bool, error) {
			err := c.Get(ctx, key, object)
			return apierrors.IsNotFound(err) || err == nil && uid != "" && object.GetUID() != uid, client.IgnoreNotFound(err)
		})
		if err != nil {
			err = fmt.Errorf("wait for %s to go: %w", what, err)
			return Advise(err, "it is being deleted; see what holds it with `%s`", see)
		}
	}
	fmt.Fprintf(d.Env.Out, "%s deleted\n", what)
	return nil
}
