package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// finalizer keeps a Build until its pod is removed: no owner reference
// reaches into another namespace.
const finalizer = "knit.dev/build-pod"

// Reasons of the Succeeded condition while a Build is under way. Those of a
// failure are in failure.go.
const (
	reasonQueued   = "Queued"
	reasonRunning  = "Running"
	reasonRetrying = "Retrying"
	reasonWaiting  = "Waiting"
)

// Reconciler brings a Build from its spec to its image. All that it knows is
// in the Build's status and in the pod, whose name follows from the Build: it
// can be stopped between any two writes and go on from there.
type Reconciler struct {
	client   client.Client
	live     client.Reader // past the cache, where a stale answer would do harm
	registry *registry.Client
	options  Options
	now      func() time.Time
	tail     func(ctx context.Context, pod, container string) (string, error)
	end      func(ctx context.Context, pod, container string, limit int64) (text []byte, whole bool, err error)
	admit    *sync.Mutex // one admission at a time, so that counts stay true
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var build v1alpha1.Build
	if err := r.client.Get(ctx, req.NamespacedName, &build); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, r.sweep(ctx, req.NamespacedName)
		}
		return ctrl.Result{}, err
	}
	if !build.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.remove(ctx, &build)
	}
	if ended, _ := build.Done(); ended {
		return r.settle(ctx, &build)
	}
	// Before Run, which keeps the version that it started with for the status.
	if err := r.ensureFinalizer(ctx, &build); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Run(ctx, r.client, &build, nil, r.advance)
}

// ensureFinalizer comes before any pod is created.
func (r *Reconciler) ensureFinalizer(ctx context.Context, build *v1alpha1.Build) error {
	if controllerutil.ContainsFinalizer(build, finalizer) {
		return nil
	}
	before := build.DeepCopy()
	controllerutil.AddFinalizer(build, finalizer)
	err := r.client.Patch(ctx, build, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("add the finalizer to Build %s: %w", client.ObjectKeyFromObject(build), err)
	}
	return nil
}

// advance takes the next step; it changes the Build's status in memory only.
func (r *Reconciler) advance(ctx context.Context, build *v1alpha1.Build) error {
	switch {
	case build.Annotations[v1alpha1.AnnotationCancel] != "":
		r.cancelled(build, "somebody asked for its end; build again with `knit build`")
		return nil
	case build.Status.PodName == "":
		return r.start(ctx, build, incluster.PodName(build))
	case reasonOf(build) == reasonRetrying:
		return r.start(ctx, build, incluster.RetryPodName(build))
	default:
		return r.observe(ctx, build)
	}
}

func reasonOf(build *v1alpha1.Build) string {
	if c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason
	}
	return ""
}

// working records that the build is under way.
func (r *Reconciler) working(build *v1alpha1.Build, reason, message string) {
	build.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, reason, message))
}

func (r *Reconciler) succeed(build *v1alpha1.Build, image string) {
	build.Status.Image = image
	r.finish(build, v1alpha1.True(v1alpha1.ConditionSucceeded, v1alpha1.ReasonSucceeded, "built "+image))
}

func (r *Reconciler) fail(build *v1alpha1.Build, reason, message string) {
	r.finish(build, v1alpha1.False(v1alpha1.ConditionSucceeded, reason, message))
}

func (r *Reconciler) finish(build *v1alpha1.Build, condition metav1.Condition) {
	now := metav1.NewTime(r.now())
	build.Status.FinishTime = &now
	build.Set(condition)
}
