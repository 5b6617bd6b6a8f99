package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
	"github.com/knit-dev/knit/scheduler"
)

const (
	// lookAgain bounds how long a Schedule is not looked at. A timer does not see
	// that the clock was put forward or the machine slept; this does.
	lookAgain = 30 * time.Second
	// sinkAgain is how soon a sink that has no address yet is looked up again.
	sinkAgain = 2 * time.Second
	// atOnce is for what is due already.
	atOnce = time.Millisecond
)

// Sender delivers an event to an address, in one attempt.
type Sender interface {
	// Send returns nil when the sink took the event. An error that Permanent
	// knows is not worth another attempt.
	Send(ctx context.Context, uri string, event cloudevents.Event) error
}

// Sinks finds the address of a destination.
type Sinks interface {
	// Resolve returns an absolute URL, or an *Unresolved.
	Resolve(ctx context.Context, namespace string, sink v1alpha1.Destination) (string, error)
}

// Reconciler looks at one Schedule at a time.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache. A decision to send is never made from a cached
	// status: it could be the one before the last sending.
	Live   client.Reader
	Sinks  Sinks
	Sender Sender
	Now    func() time.Time
}

// Reconcile does what is due, one planned time, and says when to look again.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var s v1alpha1.Schedule
	if err := r.Client.Get(ctx, req.NamespacedName, &s); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.busy(&s) {
		s = v1alpha1.Schedule{}
		if err := r.Live.Get(ctx, req.NamespacedName, &s); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	look := &look{Reconciler: r, now: r.Now()}
	return reconcile.Run(ctx, r.Client, &s, nil, look.read, look.begin, look.resolve, look.act, look.rest)
}

// busy reports whether there is anything to do but wait.
func (r *Reconciler) busy(s *v1alpha1.Schedule) bool {
	timetable, err := scheduler.Parse(s.Spec.Cron, s.Spec.Zone())
	if err != nil || s.Status.Pending != nil || s.Status.LastHandledTime == nil || s.Status.Timetable != fingerprint(s) {
		return true
	}
	p := timetable.Plan(s.Status.LastHandledTime.Time, r.Now(), s.Spec.Window())
	return !s.Spec.Suspend && (!p.Due.IsZero() || p.Missed.Count > 0)
}

func fingerprint(s *v1alpha1.Schedule) string {
	return scheduler.Fingerprint(s.Spec.Cron, s.Spec.Zone(), s.Spec.Suspend)
}

// look is one look at a Schedule; its steps share what they found.
type look struct {
	*Reconciler
	now       time.Time
	timetable scheduler.Timetable
	uri       string
	unsolved  error
}

// read checks the spec.
func (l *look) read(_ context.Context, s *v1alpha1.Schedule) error {
	var err error
	if invalid := s.Validate(); len(invalid) > 0 {
		err = invalid.ToAggregate()
	} else {
		l.timetable, err = parse(s)
	}
	if err != nil {
		s.Status.NextTime = nil
		s.Set(v1alpha1.False(v1alpha1.ConditionReady, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	return nil
}

func parse(s *v1alpha1.Schedule) (scheduler.Timetable, error) {
	timetable, err := scheduler.Parse(s.Spec.Cron, s.Spec.Zone())
	if err != nil {
		return timetable, fmt.Errorf("spec.cron or spec.timeZone: %w", err)
	}
	return timetable, nil
}

// begin settles from when on there is something to do. A new Schedule begins
// when it was created, a changed or resumed one now: neither plans anything in
// the past. What was under way when it was suspended is given up.
func (l *look) begin(_ context.Context, s *v1alpha1.Schedule) error {
	if s.Status.Timetable != fingerprint(s) {
		begin := s.CreationTimestamp.Time
		if s.Status.Timetable != "" {
			begin = l.now
		}
		if handled := s.Status.LastHandledTime; handled == nil || handled.Time.Before(begin) {
			s.Status.LastHandledTime = seconds(begin)
		}
		s.Status.Timetable = fingerprint(s)
	}
	if s.Spec.Suspend && s.Status.Pending != nil {
		l.settle(s, v1alpha1.ActionFailed, "the schedule was suspended before the sink took the event; "+s.Status.Pending.Message)
	}
	return nil
}

// resolve finds the sink, also while nothing is due, so that a wrong one shows
// at once.
func (l *look) resolve(ctx context.Context, s *v1alpha1.Schedule) error {
	l.uri, l.unsolved = l.Sinks.Resolve(ctx, s.Namespace, s.Spec.Sink)
	s.Status.SinkURI = l.uri
	if l.unsolved == nil {
		return nil
	}
	if unresolved, ok := asUnresolved(l.unsolved); ok {
		s.Set(v1alpha1.False(v1alpha1.ConditionReady, unresolved.Reason, unresolved.Error()))
		return reconcile.Wait(unresolved.Error(), sinkAgain)
	}
	// The API server did not answer. What is due is counted as an attempt that
	// failed, and the sink is looked up again with it.
	s.Set(v1alpha1.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonSinkNotReady, l.unsolved.Error()))
	return reconcile.Wait(l.unsolved.Error(), sinkAgain)
}

// rest says how it stands and when to look again.
func (l *look) rest(_ context.Context, s *v1alpha1.Schedule) error {
	s.Status.NextTime = nil
	if s.Spec.Suspend {
		s.Set(v1alpha1.True(v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "suspended: nothing happens until spec.suspend is false"))
		return reconcile.Wait("suspended", 0)
	}
	// Sending took its time.
	now := l.Now()
	p := l.timetable.Plan(s.Status.LastHandledTime.Time, now, s.Spec.Window())
	after := lookAgain
	if !p.Next.IsZero() {
		s.Status.NextTime = seconds(p.Next)
		after = min(after, p.Next.Sub(now))
	}
	pending := s.Status.Pending
	switch {
	case pending != nil && pending.NextAttemptTime != nil:
		after = min(after, pending.NextAttemptTime.Sub(now))
	case !p.Due.IsZero():
		after = atOnce
	}
	if l.unsolved == nil {
		s.Set(state(pending, p))
	}
	return reconcile.Wait("until the next planned time", max(after, atOnce))
}

func state(pending *v1alpha1.PendingAction, p scheduler.Plan) metav1.Condition {
	switch {
	case pending != nil && pending.Attempts > 0:
		return v1alpha1.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonDelivering,
			fmt.Sprintf("the event of %s was not taken yet: %s", pending.PlannedTime.UTC().Format(time.RFC3339), pending.Message))
	case p.Next.IsZero():
		return v1alpha1.False(v1alpha1.ConditionReady, v1alpha1.ReasonNeverDue, "no cron line is ever due; check the days and months in spec.cron")
	}
	return v1alpha1.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "")
}

// seconds is a time as the API keeps it: in UTC, without fractions, which are cut
// off and not rounded up into the future.
func seconds(t time.Time) *metav1.Time {
	v := metav1.NewTime(t.UTC().Truncate(time.Second))
	return &v
}
