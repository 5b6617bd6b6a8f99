package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// prune deletes the older ones of the Builds that no Function has taken up:
// those of a person who builds and never deploys. The Function controller looks
// after the others.
func (r *Reconciler) prune(ctx context.Context, build *v1alpha1.Build) error {
	if metav1.GetControllerOf(build) != nil {
		return nil
	}
	s, err := r.settings(ctx)
	if errors.As(err, new(errPlatform)) {
		return nil // The settings wait for a repair; so does the history.
	}
	if err != nil {
		return err
	}
	siblings, err := r.siblings(ctx, build)
	if err != nil {
		return err
	}
	siblings = slices.DeleteFunc(siblings, func(b v1alpha1.Build) bool { return metav1.GetControllerOf(&b) != nil })
	for _, old := range decision.Old(siblings, s.Keep, func(*v1alpha1.Build) bool { return false }) {
		if err := client.IgnoreNotFound(r.client.Delete(ctx, old, client.Preconditions{UID: &old.UID})); err != nil {
			return fmt.Errorf("delete Build %s: %w", client.ObjectKeyFromObject(old), err)
		}
	}
	return nil
}

// forgetLog deletes the kept log of a Build. A registry that does not answer
// keeps nobody from deleting a Build; the log then stays until the registry's
// own clean-up.
func (r *Reconciler) forgetLog(ctx context.Context, build *v1alpha1.Build) {
	if build.Status.Log == nil {
		return
	}
	if err := r.registry.Delete(ctx, build.Status.Log.Reference); err != nil {
		log.FromContext(ctx).Info("the log of a build stays in the registry", "log", build.Status.Log.Reference, "why", err.Error())
	}
}

// forgetOldLogs deletes the oldest kept logs of a namespace beyond the limit.
func (r *Reconciler) forgetOldLogs(ctx context.Context, namespace string, limit int) error {
	var builds v1alpha1.BuildList
	if err := r.client.List(ctx, &builds, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the Builds of namespace %s: %w", namespace, err)
	}
	for _, b := range oldLogs(builds.Items, limit) {
		r.forgetLog(ctx, &b)
		before := b.DeepCopy()
		b.Status.Log = nil
		err := r.client.Status().Patch(ctx, &b, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("write the status of Build %s: %w", client.ObjectKeyFromObject(&b), err)
		}
	}
	return nil
}

// oldLogs are the Builds with a log beyond the newest ones that are kept.
func oldLogs(builds []v1alpha1.Build, limit int) []v1alpha1.Build {
	logged := slices.DeleteFunc(slices.Clone(builds), func(b v1alpha1.Build) bool { return b.Status.Log == nil })
	slices.SortFunc(logged, func(a, b v1alpha1.Build) int { return older(&b, &a) })
	return logged[min(limit, len(logged)):]
}
