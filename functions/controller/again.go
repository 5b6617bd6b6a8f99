package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// How long a revision that failed stands before it is made again.
const (
	firstAgain = 30 * time.Second
	lastAgain  = 15 * time.Minute
)

// tryAgain is when a revision that failed is made again; the zero time while
// Knative and the kubelet still try themselves, and for one that was ready once.
//
// Each try stands for half of the time since the first failure: soon while the
// cause may just be mended, seldom when nobody mends it.
func tryAgain(fn *v1alpha1.Function, service *servingv1.Service, revision *servingv1.Revision) time.Time {
	if !revision.DeletionTimestamp.IsZero() || revision.Name == service.Status.LatestReadyRevisionName || pinned(service, revision.Name) || !gaveUp(revision) {
		return time.Time{}
	}
	wait := firstAgain
	failed := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionDeployed)
	if failed != nil && failed.Status == metav1.ConditionFalse && failed.ObservedGeneration == fn.Generation {
		wait = min(max(revision.CreationTimestamp.Sub(failed.LastTransitionTime.Time), firstAgain), lastAgain)
	}
	return revision.CreationTimestamp.Add(wait)
}

// pinned reports whether traffic goes to a revision by its name.
func pinned(service *servingv1.Service, revision string) bool {
	for _, t := range service.Spec.Traffic {
		if t.RevisionName == revision {
			return true
		}
	}
	return false
}

// gaveUp reports whether nobody tries to start a revision any more, or so seldom
// that it is better made anew: Knative scaled it to zero after its progress
// deadline, or there is not even a pod of it. While there is one, the kubelet
// tries, and its logs tell.
func gaveUp(revision *servingv1.Revision) bool {
	ready := revision.Status.GetCondition(apis.ConditionReady)
	if !ready.IsFalse() {
		return false
	}
	switch ready.Reason {
	case servingv1.ReasonContainerMissing, failedCreate:
		return true
	}
	active := revision.Status.GetCondition(servingv1.RevisionConditionActive)
	return active != nil && active.Status == corev1.ConditionFalse
}

// remake deletes a revision that never got ready. Knative makes it again under
// the same name, because it is what its Configuration wants.
func (r *Reconciler) remake(ctx context.Context, revision *servingv1.Revision) error {
	// In the foreground: the new one must not meet what is left of the old.
	err := r.client.Delete(ctx, revision, client.Preconditions{UID: &revision.UID}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete Revision %s/%s, which failed, to have it made again: %w", revision.Namespace, revision.Name, err)
	}
	return nil
}
