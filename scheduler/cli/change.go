package cli

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// changeOwner is the owner of what single commands change, apart from what a
// manifest says: the next `knit deploy` leaves alone what it does not mention.
const changeOwner = client.FieldOwner("knit-cli-change")

// conflictBackoff bounds how often a change is tried again: the status of a
// schedule may change every second, and each time it is another version.
var conflictBackoff = wait.Backoff{Steps: 7, Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.2}

// change edits the spec of a schedule, anew each time that somebody else was
// faster. An edit that changes nothing sends nothing.
func change(ctx context.Context, c *cmdline.Cluster, name string, edit func(*v1alpha1.Schedule) error) (*v1alpha1.Schedule, error) {
	var schedule *v1alpha1.Schedule
	err := retry.RetryOnConflict(conflictBackoff, func() error {
		var err error
		if schedule, err = getSchedule(ctx, c, name); err != nil {
			return err
		}
		before := schedule.DeepCopy()
		if err := edit(schedule); err != nil || equality.Semantic.DeepEqual(before.Spec, schedule.Spec) {
			return err
		}
		err = c.Patch(ctx, schedule, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), changeOwner)
		if err != nil {
			return fmt.Errorf("change schedule %s in namespace %s: %w", name, c.Namespace, err)
		}
		return nil
	})
	if apierrors.IsConflict(err) {
		err = cmdline.Advise(err, "somebody else changes it all the time; try again")
	}
	return schedule, err
}
