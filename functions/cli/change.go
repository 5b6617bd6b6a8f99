package cli

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// changeOwner is the owner of what single commands change, apart from what a
// manifest says: the next `knit deploy` leaves alone what it does not mention.
const changeOwner = client.FieldOwner("knit-cli-change")

// changePoll is how often a command that takes a moment looks for the result.
const changePoll = 50 * time.Millisecond

// changeFunction writes a change of one part of the spec. Somebody else's change at
// the same time is a conflict, not overwritten.
func changeFunction(ctx context.Context, c *cmdline.Cluster, function *v1alpha1.Function, change func(*v1alpha1.FunctionSpec)) error {
	before := function.DeepCopy()
	change(&function.Spec)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Patch(ctx, function, patch, changeOwner); err != nil {
		return cmdline.Advise(fmt.Errorf("change function %s in namespace %s: %w", function.Name, function.Namespace, err), "try again")
	}
	return nil
}

// awaitReady returns when the function is ready with its present spec.
func awaitReady(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster, function *v1alpha1.Function) error {
	progress := cmdline.NewProgress(env)
	defer progress.Clear()
	track := &tracked{object: function}
	state := ""
	err := wait.PollUntilContextCancel(ctx, changePoll, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(function), function); err != nil {
			return false, fmt.Errorf("watch function %s: %w", function.Name, err)
		}
		ready := currentCondition(function.Status.Conditions, v1alpha1.ConditionReady, function.Generation)
		if ready.Status == metav1.ConditionTrue {
			return true, nil
		}
		state = waiting(function.Name, ready)
		progress.Doing("%s", state)
		return false, track.patient(ready, function.Name, seeFunction(function.Name))
	})
	if ctx.Err() == context.DeadlineExceeded {
		return cmdline.Timeout(fmt.Errorf("%w: %s", ctx.Err(), state))
	}
	return err
}
