// Package controller acts on Schedules: at each planned time it sends a CloudEvent
// to the Schedule's sink.
//
// It is a part of the control plane, which calls Setup. What is due it asks the
// package scheduler; what was done stands in the Schedule's status and nowhere
// else. An intent is stored before the first attempt and its result after it, so
// a process that dies in between is followed by one that sends the same event
// with the same id: within the catch-up window nothing is lost, and what comes
// twice can be told.
package controller

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// workers is how many Schedules are worked on at once. Most of them wait for a
// sink, so there are many: slow sinks of one tenant must not hold up others.
const workers = 64

// AddToScheme registers every kind that this controller reads and writes.
func AddToScheme(s *runtime.Scheme) error { return v1alpha1.AddToScheme(s) }

// Setup adds the controller of Schedules to a manager.
func Setup(mgr manager.Manager) error {
	if err := AddToScheme(mgr.GetScheme()); err != nil {
		return err
	}
	live := mgr.GetAPIReader()
	r := &Reconciler{
		Client: mgr.GetClient(),
		Live:   live,
		Sinks:  Resolver{Reader: live},
		Sender: NewHTTPSender(),
		Now:    time.Now,
	}
	// Only a changed spec is news: the status is written by this controller, and
	// time itself comes by way of the queue.
	err := builder.ControllerManagedBy(mgr).
		Named("schedule").
		For(&v1alpha1.Schedule{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the controller of Schedules: %w", err)
	}
	return nil
}
