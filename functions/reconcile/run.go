package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Step is one idempotent part of the work on an object. It may change the
// object's status in memory, and owns one condition in it. It returns nil, an
// error to be tried again, Wait or Terminal.
type Step[T client.Object] func(ctx context.Context, obj T) error

// conflictDelay is how soon an object is looked at again whose status was
// written by somebody else meanwhile; the cache has the new one by then.
const conflictDelay = 100 * time.Millisecond

// Run takes an object through its steps and then writes its status, if it
// changed, in one request, also when a step failed. Summarize runs before that.
//
// The write carries the version that was read: a status that was computed from
// an old object never replaces a newer one.
func Run[T client.Object](ctx context.Context, c client.Client, obj T, summarize func(T), steps ...Step[T]) (reconcile.Result, error) {
	if !obj.GetDeletionTimestamp().IsZero() {
		return reconcile.Result{}, nil
	}
	stored := &baseline{obj: obj.DeepCopyObject().(client.Object)}
	result, err := runSteps(context.WithValue(ctx, baselineKey{}, stored), obj, steps)
	if summarize != nil {
		summarize(obj)
	}
	writeErr := stored.write(ctx, c, obj)
	if apierrors.IsNotFound(writeErr) {
		// Gone meanwhile: there is no status left to write.
		writeErr = nil
	}
	if apierrors.IsConflict(writeErr) || (writeErr == nil && apierrors.IsConflict(err)) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	if writeErr == nil && IsTerminal(err) {
		log.FromContext(ctx).Info("waiting for a change of the object", "why", err.Error())
		return reconcile.Result{}, nil
	}
	if err = errors.Join(err, writeErr); err != nil {
		return reconcile.Result{}, err
	}
	return result, nil
}

// Checkpoint writes the status of the object at once, from within a step. It is
// for the rare step that must have something stored before it goes on, as an
// intent; everything else leaves writing to Run. An error means that nothing is
// known to be stored: a conflict, that somebody else was faster.
func Checkpoint(ctx context.Context, c client.Client, obj client.Object) error {
	return ctx.Value(baselineKey{}).(*baseline).write(ctx, c, obj)
}

// baseline is an object as it is stored, to know what changed.
type baseline struct{ obj client.Object }

// baselineKey is where Run keeps the baseline for Checkpoint.
type baselineKey struct{}

func runSteps[T client.Object](ctx context.Context, obj T, steps []Step[T]) (reconcile.Result, error) {
	var result reconcile.Result
	for _, step := range steps {
		err := step(ctx, obj)
		var wait *waiting
		if errors.As(err, &wait) {
			result.RequeueAfter = sooner(result.RequeueAfter, wait.after)
			continue
		}
		if err != nil {
			return reconcile.Result{}, err
		}
	}
	return result, nil
}

// sooner is the shorter of two delays, where zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// write stores the status if it differs, and takes over what is stored then.
func (b *baseline) write(ctx context.Context, c client.Client, obj client.Object) error {
	// To compare costs a hundredth of making a patch, and most looks change nothing.
	if equality.Semantic.DeepEqual(b.obj, obj) {
		return nil
	}
	plain, err := client.MergeFrom(b.obj).Data(obj)
	if err != nil {
		return err
	}
	if string(plain) == "{}" {
		return nil
	}
	err = c.Status().Patch(ctx, obj, client.MergeFromWithOptions(b.obj, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("write the status of %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	b.obj = obj.DeepCopyObject().(client.Object)
	return nil
}
