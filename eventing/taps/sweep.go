package taps

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/tap"
)

// sweepEvery is how often objects of taps that are over are looked for.
const sweepEvery = 30 * time.Second

// Sweeper removes the Triggers and Subscriptions of taps whose caller went away
// without doing so. It asks the API each time and keeps nothing in memory.
type Sweeper struct {
	client client.Client
	now    func() time.Time
	every  time.Duration
}

// NewSweeper needs a client for the kinds of deadletters.AddToScheme, best with a cache.
func NewSweeper(c client.Client) *Sweeper {
	return &Sweeper{client: c, now: time.Now, every: sweepEvery}
}

// NeedLeaderElection tells a controller-runtime manager that one is enough.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends. A failure is logged; the next time comes.
func (s *Sweeper) Start(ctx context.Context) error {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Taps that are over were not all removed; trying again later", "after", s.every)
		}
	}
}

func (s *Sweeper) sweep(ctx context.Context) error {
	var triggers eventingv1.TriggerList
	var subscriptions messagingv1.SubscriptionList
	labelled := client.MatchingLabels{tap.Label: "true"}
	err := errors.Join(s.client.List(ctx, &triggers, labelled), s.client.List(ctx, &subscriptions, labelled))
	for i := range triggers.Items {
		err = errors.Join(err, s.remove(ctx, &triggers.Items[i]))
	}
	for i := range subscriptions.Items {
		err = errors.Join(err, s.remove(ctx, &subscriptions.Items[i]))
	}
	return err
}

// remove removes an object that is over. One that was renewed meanwhile stays.
func (s *Sweeper) remove(ctx context.Context, object client.Object) error {
	if !over(object, s.now()) || object.GetDeletionTimestamp() != nil {
		return nil
	}
	as := client.Preconditions{UID: ptr.To(object.GetUID()), ResourceVersion: ptr.To(object.GetResourceVersion())}
	if err := s.client.Delete(ctx, object, as); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the tap %s: %w", client.ObjectKeyFromObject(object), err)
	}
	return nil
}

// over tells whether nobody watches any more. Without a time that can be read it is
// the object's age that counts.
func over(object metav1.Object, now time.Time) bool {
	until, err := time.Parse(time.RFC3339, object.GetAnnotations()[tap.AnnotationExpires])
	if err != nil {
		until = object.GetCreationTimestamp().Add(tap.Life)
	}
	return now.After(until)
}
