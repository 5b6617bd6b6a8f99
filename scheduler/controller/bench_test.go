package controller

import (
	"context"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// still is a cache with one Schedule.
type still struct {
	client.Client
	schedule *v1alpha1.Schedule
}

func (s still) Get(_ context.Context, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	s.schedule.DeepCopyInto(obj.(*v1alpha1.Schedule))
	return nil
}

type nowhere struct{}

func (nowhere) Resolve(context.Context, string, v1alpha1.Destination) (string, error) {
	return "http://sink", nil
}
func (nowhere) Send(context.Context, string, cloudevents.Event) error { return nil }
func (nowhere) Wake(context.Context, string) error                    { return nil }

// BenchmarkLook is a look at a Schedule that has just been found due: what is
// done for each of thousands that are due at once, but for sending.
func BenchmarkLook(b *testing.B) {
	w := newWorld(b)
	w.until("10:09:59")
	s := w.schedule()
	now := clock("10:10:00")
	c := still{schedule: s}
	r := newReconciler(c, c, nowhere{}, nowhere{}, nowhere{}, func() time.Time { return now }, func(client.ObjectKey, bool) {})
	request := ctrl.Request{NamespacedName: key}
	if _, err := r.Reconcile(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r.flights.drop(key)
		b.StartTimer()
		if _, err := r.Reconcile(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}
