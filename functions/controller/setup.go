// Package controller makes Functions run: Function → Build → Knative Service by
// digest → the Triggers, Subscriptions and sources that bring it events.
//
// It is a part of the control plane, which calls Setup. It builds nothing and
// serves nothing itself: it writes objects that others work on, watches them, and
// says in the Function's status how far they are.
package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Wiring says which objects bring events to a Function. Both functions are pure.
type Wiring struct {
	// Objects returns what a Function wants, in its namespace, with the label of
	// the Function and without an owner: Triggers, Channels, Subscriptions, and
	// sources as Unstructured, each after those that it sends to.
	Objects func(*v1alpha1.Function) ([]client.Object, error)
	// DefaultBroker returns the Broker to make for a namespace that has none.
	DefaultBroker func(namespace string) *eventingv1.Broker
}

// workers is how many Functions are worked on at once. A worker waits for the
// API server most of its time.
const workers = 8

// AddToScheme registers every kind that this controller reads and writes.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme, servingv1.AddToScheme, eventingv1.AddToScheme, messagingv1.AddToScheme} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// Setup adds the controller of Functions to a manager. The manager's cache must
// hold ConfigMaps of the namespace knit-system, and needs no others.
func Setup(mgr manager.Manager, wiring Wiring) error {
	if err := AddToScheme(mgr.GetScheme()); err != nil {
		return err
	}
	references, err := cacheOfReferences(mgr)
	if err != nil {
		return err
	}
	r := New(mgr.GetClient(), references, mgr.GetAPIReader(), wiring)
	functions, err := builder.ControllerManagedBy(mgr).
		Named("function").
		For(&v1alpha1.Function{}).
		Watches(&v1alpha1.Build{}, handler.EnqueueRequestsFromMapFunc(functionOfBuild)).
		Owns(&servingv1.Service{}).
		Owns(&eventingv1.Trigger{}).
		Owns(&messagingv1.Subscription{}).
		Owns(&messagingv1.Channel{}).
		Watches(&servingv1.Revision{}, handler.EnqueueRequestsFromMapFunc(functionOfRevision)).
		Watches(&eventingv1.Broker{}, handler.EnqueueRequestsFromMapFunc(r.functionsOfBroker)).
		Watches(&messagingv1.Channel{}, handler.EnqueueRequestsFromMapFunc(r.functionsOfChannel)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.allFunctions), builder.WithPredicates(isPlatform)).
		WatchesRawSource(source.Kind(references, metadataOf(kindSecret), handler.TypedEnqueueRequestsFromMapFunc(r.functionsOfReference(kindSecret)))).
		WatchesRawSource(source.Kind(references, metadataOf(kindConfigMap), handler.TypedEnqueueRequestsFromMapFunc(r.functionsOfReference(kindConfigMap)))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Build(ctrl.AsReconciler(mgr.GetClient(), r))
	if err != nil {
		return fmt.Errorf("set up the controller of Functions: %w", err)
	}
	r.watchSources = sourceWatcher(mgr, functions)
	return nil
}

// sourceWatcher returns a function that watches a kind of sources from its first
// call on. Only metadata is kept: a change of the status is one of the version.
func sourceWatcher(mgr manager.Manager, functions controller.Controller) func(schema.GroupVersionKind) error {
	var mu sync.Mutex
	watched := map[schema.GroupVersionKind]bool{}
	owner := handler.TypedEnqueueRequestForOwner[*metav1.PartialObjectMetadata](mgr.GetScheme(), mgr.GetRESTMapper(), &v1alpha1.Function{}, handler.OnlyControllerOwner())
	return func(gvk schema.GroupVersionKind) error {
		mu.Lock()
		defer mu.Unlock()
		if watched[gvk] {
			return nil
		}
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(gvk)
		if err := functions.Watch(source.Kind(mgr.GetCache(), object, owner)); err != nil {
			return err
		}
		watched[gvk] = true
		return nil
	}
}

// cacheOfReferences holds the metadata of all Secrets and ConfigMaps; the
// manager's own cache is for objects as a whole.
func cacheOfReferences(mgr manager.Manager) (cache.Cache, error) {
	references, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(), DefaultTransform: stripReference,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of Secrets' and ConfigMaps' metadata: %w", err)
	}
	if err := mgr.Add(references); err != nil {
		return nil, fmt.Errorf("add the cache of Secrets' and ConfigMaps' metadata: %w", err)
	}
	return references, nil
}

var isPlatform = predicate.NewPredicateFuncs(func(obj client.Object) bool {
	return obj.GetNamespace() == v1alpha1.NamespaceSystem && obj.GetName() == v1alpha1.PlatformConfigMap
})

// functionOfBuild names the Function that a Build is for, whoever made it.
func functionOfBuild(_ context.Context, obj client.Object) []ctrl.Request {
	build, ok := obj.(*v1alpha1.Build)
	if !ok {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: build.Namespace, Name: build.Spec.Function}}}
}

// functionOfRevision names the Function whose Knative Service has the Revision:
// the two have the same name.
func functionOfRevision(_ context.Context, revision client.Object) []ctrl.Request {
	service := revision.GetLabels()[serving.ServiceLabelKey]
	if service == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: revision.GetNamespace(), Name: service}}}
}

// functionsOfBroker finds the Functions that a Broker's coming or going concerns.
func (r *Reconciler) functionsOfBroker(ctx context.Context, broker client.Object) []ctrl.Request {
	return r.functionsOfEvent(ctx, broker.GetNamespace(), func(e v1alpha1.EventSource) bool { return e.BrokerName() == broker.GetName() })
}

// functionsOfChannel is the same for a Channel that is none of a Function's own.
func (r *Reconciler) functionsOfChannel(ctx context.Context, channel client.Object) []ctrl.Request {
	return r.functionsOfEvent(ctx, channel.GetNamespace(), func(e v1alpha1.EventSource) bool { return e.Channel == channel.GetName() })
}

func (r *Reconciler) functionsOfEvent(ctx context.Context, namespace string, concerned func(v1alpha1.EventSource) bool) []ctrl.Request {
	return r.requests(ctx, func(fn *v1alpha1.Function) bool { return slices.ContainsFunc(fn.Spec.Events, concerned) }, client.InNamespace(namespace))
}

func (r *Reconciler) allFunctions(ctx context.Context, _ client.Object) []ctrl.Request {
	return r.requests(ctx, func(*v1alpha1.Function) bool { return true })
}

func (r *Reconciler) requests(ctx context.Context, concerned func(*v1alpha1.Function) bool, opts ...client.ListOption) []ctrl.Request {
	var functions v1alpha1.FunctionList
	// The list comes from the cache and fails only while the process ends.
	if err := r.client.List(ctx, &functions, opts...); err != nil {
		return nil
	}
	var requests []ctrl.Request
	for i := range functions.Items {
		if fn := &functions.Items[i]; concerned(fn) {
			requests = append(requests, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: fn.Namespace, Name: fn.Name}})
		}
	}
	return requests
}
