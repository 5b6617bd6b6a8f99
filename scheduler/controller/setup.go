// Package controller acts on Schedules: at each planned time it sends a CloudEvent
// to the Schedule's sink.
//
// It is a part of the control plane, which calls Setup. What is due it asks the
// package scheduler; what was done stands in the Schedule's status and nowhere
// else. A planned time stays due until the status says otherwise, and its event
// has one id, so a process that dies at any line is followed by one that sends
// the same event with the same id: within the catch-up window nothing is lost,
// and what comes twice can be told.
package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// workers is how many Schedules are looked at at once. They wait for the API
// server only.
const workers = 32

// AddToScheme registers every kind that this controller reads and writes.
func AddToScheme(s *runtime.Scheme) error { return v1alpha1.AddToScheme(s) }

// Setup adds the controller of Schedules to a manager.
func Setup(mgr manager.Manager) error {
	if err := AddToScheme(mgr.GetScheme()); err != nil {
		return err
	}
	cached, live, err := clients(mgr)
	if err != nil {
		return fmt.Errorf("set up the controller of Schedules: %w", err)
	}
	news := &queue{}
	sender := NewHTTPSender()
	r := newReconciler(cached, live, Addresses{Reader: live}, sender, sender, time.Now, news.record)
	// Only a changed spec is news: the status is written by this controller, and
	// time itself comes by way of the queue.
	err = builder.ControllerManagedBy(mgr).
		Named("schedule").
		For(&v1alpha1.Schedule{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Func(news.start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the controller of Schedules: %w", err)
	}
	return mgr.Add(&clockWatch{now: time.Now, cache: mgr.GetClient(), enqueue: news.act})
}

// clients are of this controller alone, reading from the manager's cache and past
// it. Thousands of Schedules may be due at once; what they write must not hold up
// the other controllers, which share a limit. How much the API server bears it
// says itself, by priority and fairness.
func clients(mgr manager.Manager) (cached, live client.Client, err error) {
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst = 1000, 2000
	options := client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()}
	if live, err = client.New(config, options); err != nil {
		return nil, nil, err
	}
	options.Cache = &client.CacheOptions{Reader: mgr.GetCache()}
	cached, err = client.New(config, options)
	return cached, live, err
}

func newReconciler(c client.Client, live client.Reader, resolver Resolver, sender Sender, waker Waker, now func() time.Time, landed func(client.ObjectKey, bool)) *Reconciler {
	return &Reconciler{
		Client: c, Sender: sender, Now: now,
		read: &freshReader{cache: c, live: live}, sinks: &sinks{Resolver: resolver}, flights: newFlights(now, landed), warming: newWarming(waker),
	}
}

// queue is the controller's own, for news that do not come from the API server.
// Before the controller runs there is none, and no need: it looks at everything
// when it begins.
type queue struct {
	mu    sync.Mutex
	inner workqueue.TypedRateLimitingInterface[ctrl.Request]
}

func (q *queue) start(_ context.Context, inner workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inner = inner
	return nil
}

// act asks for a look that may begin something.
func (q *queue) act(key client.ObjectKey) { q.add(key, priorityAct, 0) }

// record asks for a look that writes down what came of an action; a while later
// when many others are still being sent.
func (q *queue) record(key client.ObjectKey, crowded bool) {
	after := time.Duration(0)
	if crowded {
		after = youth
	}
	q.add(key, priorityRecord, after)
}

func (q *queue) add(key client.ObjectKey, priority int, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	request := ctrl.Request{NamespacedName: key}
	switch inner := q.inner.(type) {
	case nil:
	case priorityqueue.PriorityQueue[ctrl.Request]:
		inner.AddWithOpts(priorityqueue.AddOpts{Priority: &priority, After: after}, request)
	default:
		inner.AddAfter(request, after)
	}
}
