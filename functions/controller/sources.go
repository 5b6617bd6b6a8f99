package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

const (
	// labelSource is on the CustomResourceDefinition of every source, by
	// Knative's contract. What has not the label is not made for a Function:
	// the control plane may do more than who wrote the Function.
	labelSource = "duck.knative.dev/source"
	// retryUninstalled is how soon a kind that is not installed is looked for again.
	retryUninstalled = 15 * time.Second
)

var customResourceDefinition = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// admitSource finds out whether the source may be made: its kind is installed,
// is one of sources, and stands in the status, where a later process finds it
// when the source is no longer wanted. A fault says why not.
func (r *Reconciler) admitSource(ctx context.Context, fn *v1alpha1.Function, source *unstructured.Unstructured) (fault *metav1.Condition, err error) {
	fault, err = r.findSourceKind(ctx, source.GroupVersionKind())
	if fault != nil || err != nil {
		return fault, err
	}
	kind := v1alpha1.SourceKind{APIVersion: source.GetAPIVersion(), Kind: source.GetKind()}
	if !slices.Contains(fn.Status.SourceKinds, kind) {
		fn.Status.SourceKinds = append(fn.Status.SourceKinds, kind)
		return nil, reconcile.Checkpoint(ctx, r.client, fn)
	}
	return nil, nil
}

func (r *Reconciler) findSourceKind(ctx context.Context, gvk schema.GroupVersionKind) (*metav1.Condition, error) {
	fault := func(reason, format string, args ...any) *metav1.Condition {
		c := v1alpha1.False(v1alpha1.ConditionWired, reason, fmt.Sprintf(format, args...))
		return &c
	}
	const list = "`kubectl get crd -l " + labelSource + "=true` lists the kinds of sources"
	mapping, err := r.client.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return fault(v1alpha1.ReasonSourceNotFound, "no kind %s of %s is installed; install it, or name another in spec.events; %s", gvk.Kind, gvk.GroupVersion(), list), nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the kind %s of %s: %w", gvk.Kind, gvk.GroupVersion(), err)
	}
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(customResourceDefinition)
	name := mapping.Resource.Resource + "." + gvk.Group
	err = r.direct.Get(ctx, client.ObjectKey{Name: name}, crd)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read CustomResourceDefinition %s: %w", name, err)
	}
	if err != nil || crd.Labels[labelSource] != "true" {
		return fault(v1alpha1.ReasonInvalid, "%s of %s is no source; %s", gvk.Kind, gvk.GroupVersion(), list), nil
	}
	return nil, nil
}

// awaitsChannel holds a source back until the Channel that was made for it
// delivers: what it sent before would be lost. nil when it may go.
func awaitsChannel(source *unstructured.Unstructured, ready map[string]bool) *metav1.Condition {
	if kind, _, _ := unstructured.NestedString(source.Object, "spec", "sink", "ref", "kind"); kind != "Channel" {
		return nil
	}
	named := metav1.ObjectMeta{Name: source.GetName()}
	if ready[wireKey(&messagingv1.Channel{ObjectMeta: named})] && ready[wireKey(&messagingv1.Subscription{ObjectMeta: named})] {
		return nil
	}
	c := v1alpha1.Unknown(v1alpha1.ConditionWired, v1alpha1.ReasonWiring, fmt.Sprintf("%s %s waits for its Channel", source.GetKind(), source.GetName()))
	return &c
}

// sourcesOf are the sources that were made for a Function.
func (r *Reconciler) sourcesOf(ctx context.Context, fn *v1alpha1.Function) ([]client.Object, error) {
	var sources []client.Object
	for _, kind := range fn.Status.SourceKinds {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(kind.APIVersion)
		list.SetKind(kind.Kind + "List")
		err := r.client.List(ctx, list, client.InNamespace(fn.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: fn.Name})
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue // uninstalled, with all that there was of it
		}
		if err != nil {
			return nil, refuse(fn, v1alpha1.ConditionWired, fmt.Errorf("list the %ss of Function %s/%s: %w", kind.Kind, fn.Namespace, fn.Name, err))
		}
		for i := range list.Items {
			sources = append(sources, &list.Items[i])
		}
	}
	return sources, nil
}

// forgetSourceKinds keeps in the status the kinds of which there are sources, or
// will be.
func forgetSourceKinds(fn *v1alpha1.Function, wanted, made []client.Object) {
	fn.Status.SourceKinds = slices.DeleteFunc(fn.Status.SourceKinds, func(kind v1alpha1.SourceKind) bool {
		return !slices.ContainsFunc(append(slices.Clone(wanted), made...), func(obj client.Object) bool {
			source, ok := obj.(*unstructured.Unstructured)
			return ok && source.GetAPIVersion() == kind.APIVersion && source.GetKind() == kind.Kind
		})
	})
	if len(fn.Status.SourceKinds) == 0 {
		fn.Status.SourceKinds = nil
	}
}

// sourceRole is the label of ClusterRoles that let the control plane make more
// kinds of sources.
const sourceRole = "knit.dev/sources=true"

// forbiddenSource adds to a refusal how a kind of source is allowed.
func forbiddenSource(obj client.Object, err error) error {
	source, ok := obj.(*unstructured.Unstructured)
	if !ok || !apierrors.IsForbidden(err) || strings.Contains(err.Error(), exceededQuota) {
		return err
	}
	return fmt.Errorf("%w: a ClusterRole with the label %s lets Knit make %s", err, sourceRole, source.GetKind())
}
