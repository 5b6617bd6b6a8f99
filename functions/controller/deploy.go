package controller

import (
	"context"
	"fmt"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// deploy applies the Knative Service once there is an image of the wanted
// source. Until then what was deployed before goes on answering.
func (r *Reconciler) deploy(ctx context.Context, fn *v1alpha1.Function) error {
	key := client.ObjectKeyFromObject(fn)
	var existing servingv1.Service
	err := r.client.Get(ctx, key, &existing)
	found := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Knative Service %s: %w", key, err)
	}
	if found && !reconcile.Owns(fn, &existing) {
		message := fmt.Sprintf("Knative Service %s is there and not of this Function; delete it, or give the Function another name", key)
		fn.Set(v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonNameTaken, message))
		return reconcile.Wait(message, retryTaken)
	}
	if !fn.Holds(v1alpha1.ConditionBuilt) {
		return r.awaitBuild(ctx, fn, found, &existing)
	}
	configuration, outcome := r.configuration(ctx, fn)
	if outcome != nil {
		return outcome
	}
	service := makeService(fn, configuration, existing.Status.LatestReadyRevisionName)
	if err := reconcile.Apply(ctx, r.client, fn, service); err != nil {
		return refuse(fn, v1alpha1.ConditionDeployed, err)
	}
	c, again, err := r.started(ctx, fn, service)
	if err != nil {
		return err
	}
	fn.Set(c)
	if err := r.address(ctx, fn, service); err != nil || again == 0 {
		return err
	}
	return reconcile.Wait(c.Message, again)
}

func (r *Reconciler) awaitBuild(ctx context.Context, fn *v1alpha1.Function, found bool, existing *servingv1.Service) error {
	message := "waiting for the build"
	if found && existing.Status.LatestReadyRevisionName != "" {
		message += "; revision " + existing.Status.LatestReadyRevisionName + " of an earlier source answers meanwhile"
	}
	fn.Set(v1alpha1.Unknown(v1alpha1.ConditionDeployed, v1alpha1.ReasonWaitingForBuild, message))
	if !found {
		return reconcile.Wait(message, 0)
	}
	return r.address(ctx, fn, existing)
}

// address copies where the function is called.
func (r *Reconciler) address(ctx context.Context, fn *v1alpha1.Function, service *servingv1.Service) error {
	platform, err := r.platform(ctx)
	if err != nil {
		return err
	}
	fn.Status.LatestReadyRevision, fn.Status.Traffic = service.Status.LatestReadyRevisionName, shares(service)
	for i := range fn.Status.Traffic {
		fn.Status.Traffic[i].URL = platform.ExternalURL(fn.Status.Traffic[i].URL)
	}
	if fn.Status.Replicas, err = r.replicas(ctx, fn); err != nil {
		return err
	}
	fn.Status.URL, fn.Status.Address = "", nil
	if url := service.Status.URL; url != nil {
		fn.Status.URL = platform.ExternalURL(url.String())
	}
	if a := service.Status.Address; a != nil && a.URL != nil {
		fn.Status.Address = &v1alpha1.Address{URL: a.URL.String()}
	}
	return nil
}

// replicas is how many pods of the Revision that answers Knative last saw.
func (r *Reconciler) replicas(ctx context.Context, fn *v1alpha1.Function) (*int32, error) {
	if fn.Status.LatestReadyRevision == "" {
		return nil, nil
	}
	revision, err := r.revision(ctx, fn.Namespace, fn.Status.LatestReadyRevision)
	if revision == nil {
		return nil, err
	}
	return revision.Status.ActualReplicas, nil
}

// deployed reads from a Knative Service whether it answers with what its present
// spec says. What it says about an older spec does not count.
func deployed(service *servingv1.Service) metav1.Condition {
	ready := service.Status.GetCondition(apis.ConditionReady)
	if ready == nil || service.Status.ObservedGeneration != service.Generation {
		return v1alpha1.Unknown(v1alpha1.ConditionDeployed, v1alpha1.ReasonDeploying, "waiting for Knative to take up the Service")
	}
	switch {
	case ready.IsTrue():
		return v1alpha1.True(v1alpha1.ConditionDeployed, v1alpha1.ReasonSucceeded, "")
	case ready.IsFalse():
		return v1alpha1.False(v1alpha1.ConditionDeployed, reason(ready.Reason, "NotReady"), ready.Message)
	}
	return v1alpha1.Unknown(v1alpha1.ConditionDeployed, reason(ready.Reason, v1alpha1.ReasonDeploying), ready.Message)
}

// validReason is what the API server takes as the reason of a condition.
var validReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// reason is Knative's reason where it may stand in a condition of Kubernetes;
// Knative's can be empty.
func reason(given, otherwise string) string {
	if validReason.MatchString(given) {
		return given
	}
	return otherwise
}
