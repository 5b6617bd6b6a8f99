package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// remove ends a Build that is being deleted: first it is seen to be cancelled,
// then its pods and its log go, at last the finalizer.
func (r *Reconciler) remove(ctx context.Context, build *v1alpha1.Build) error {
	if !controllerutil.ContainsFinalizer(build, finalizer) {
		return nil
	}
	if ended, _ := build.Done(); !ended {
		before := build.DeepCopy()
		r.cancelled(build, "it is being deleted")
		err := r.client.Status().Patch(ctx, build, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			return client.IgnoreNotFound(fmt.Errorf("write the status of Build %s: %w", client.ObjectKeyFromObject(build), err))
		}
	}
	if err := r.deletePods(ctx, build); err != nil {
		return err
	}
	r.forgetLog(ctx, build)
	before := build.DeepCopy()
	controllerutil.RemoveFinalizer(build, finalizer)
	if err := r.client.Patch(ctx, build, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the finalizer of Build %s: %w", client.ObjectKeyFromObject(build), err)
	}
	return nil
}

// cancelled ends a Build that nobody wants any more.
func (r *Reconciler) cancelled(build *v1alpha1.Build, why string) {
	failRunning(build.Status.Phases, r.now())
	r.fail(build, v1alpha1.ReasonCancelled, "the build was cancelled: "+why)
}

// settle writes down what an ended Build leaves behind, removes its pods when
// their time is over, and at once when they still run (a Build that was given
// up needs no place), and then what the history does not need.
func (r *Reconciler) settle(ctx context.Context, build *v1alpha1.Build) (ctrl.Result, error) {
	if err := r.prune(ctx, build); err != nil {
		return ctrl.Result{}, err
	}
	if build.Status.PodName == "" || build.Status.FinishTime == nil {
		return ctrl.Result{}, nil
	}
	left := build.Status.FinishTime.Add(r.options.KeepPod).Sub(r.now())
	recordErr := r.record(ctx, build)
	if recordErr != nil && left > 0 {
		return ctrl.Result{}, recordErr
	}
	if left <= 0 {
		return ctrl.Result{}, r.deletePods(ctx, build)
	}
	key := types.NamespacedName{Namespace: r.options.BuildNamespace, Name: build.Status.PodName}
	var pod corev1.Pod
	if err := r.client.Get(ctx, key, &pod); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read build pod %s: %w", key, err)
	} else if err == nil && !podEnded(&pod) && judge(&pod).kind != verdictSucceeded {
		return ctrl.Result{RequeueAfter: left}, r.deletePod(ctx, pod.Name)
	}
	return ctrl.Result{RequeueAfter: left}, nil
}

func podEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (r *Reconciler) deletePods(ctx context.Context, build *v1alpha1.Build) error {
	for _, name := range []string{incluster.PodName(build), incluster.RetryPodName(build)} {
		if err := r.deletePod(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) deletePod(ctx context.Context, name string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.options.BuildNamespace, Name: name}}
	if err := r.client.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete build pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// sweep removes the pods of a Build that is gone: one that a former leader
// created in its last moment, or that somebody's force left behind.
func (r *Reconciler) sweep(ctx context.Context, key types.NamespacedName) error {
	// The cache may be behind; a pod that is needed must not be the victim.
	if err := r.live.Get(ctx, key, &v1alpha1.Build{}); !apierrors.IsNotFound(err) {
		return err
	}
	var pods corev1.PodList
	err := r.client.List(ctx, &pods, client.InNamespace(r.options.BuildNamespace),
		client.MatchingLabels{v1alpha1.LabelBuildNamespace: key.Namespace})
	if err != nil {
		return fmt.Errorf("list the pods of namespace %s: %w", r.options.BuildNamespace, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if _, name, ok := incluster.BuildOf(pod); !ok || name != key.Name || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.deletePod(ctx, pod.Name); err != nil {
			return err
		}
	}
	return nil
}
