package controller

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
	"github.com/knit-dev/knit/scheduler"
)

const (
	// lookAgain bounds how long a Schedule is not looked at.
	lookAgain = 10 * time.Minute
	// youth is how long an action that was begun on time may stand nowhere but in
	// memory: most are settled by then, and one write is enough for both.
	youth = time.Second
	// soon is for what is due already.
	soon = time.Millisecond
)

// The priorities of looks. Writing down what was sent waits for sending.
const (
	priorityAct    = 0
	priorityRecord = -10
)

// Sender delivers an event to an address, in one attempt.
type Sender interface {
	// Send returns nil when the sink took the event. An error that Permanent
	// knows is not worth another attempt.
	Send(ctx context.Context, uri string, event cloudevents.Event) error
}

// Reconciler looks at one Schedule at a time. It starts what is due, writes down
// what came of it and says when to look again; it never waits for a sink.
type Reconciler struct {
	Client client.Client
	Sender Sender
	Now    func() time.Time

	read       *freshReader
	sinks      *sinks
	flights    *flights
	warming    *warming
	timetables memory[keptTimetable]
}

// Reconcile looks at a Schedule.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	key := req.NamespacedName
	s, err := r.read.get(ctx, key)
	if apierrors.IsNotFound(err) {
		r.forget(key)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	l := &look{Reconciler: r, key: key, now: r.Now(), stored: s.Status.DeepCopy()}
	version := s.ResourceVersion
	result, err := reconcile.Run(ctx, r.Client, s, nil, l.parse, l.decide, l.resolve, l.start, l.warm, l.rest)
	if s.ResourceVersion != version {
		r.read.seen.put(key, s.ResourceVersion)
		r.flights.forget(key, l.landed...)
	}
	result.Priority = ptr.To(priorityAct)
	if len(l.flying) > 0 {
		// What comes next is an outcome.
		result.Priority = ptr.To(priorityRecord)
	}
	return result, err
}

func (r *Reconciler) forget(key client.ObjectKey) {
	r.flights.drop(key)
	r.read.seen.forget(key)
	r.sinks.forget(key)
	r.warming.woken.forget(key)
	r.timetables.forget(key)
}

// look is one look at a Schedule; its steps share what they found.
type look struct {
	*Reconciler
	key    client.ObjectKey
	now    time.Time
	stored *v1alpha1.ScheduleStatus

	scheduler.Decider
	flying map[string]flight
	// landed are the flights whose outcomes are in the status now.
	landed []string
	sink   sink
}

// parse checks the spec.
func (l *look) parse(_ context.Context, s *v1alpha1.Schedule) error {
	var err error
	if invalid := s.Validate(); len(invalid) > 0 {
		err = invalid.ToAggregate()
	} else {
		l.Timetable, err = l.timetableOf(s)
	}
	if err != nil {
		s.Status.NextTime = nil
		s.Set(v1alpha1.False(v1alpha1.ConditionReady, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	return nil
}

// decide brings the status up to now, with what only this process knows: the
// attempts under way, and those that ended.
func (l *look) decide(_ context.Context, s *v1alpha1.Schedule) error {
	l.Decider = scheduler.Decider{Schedule: s, Timetable: l.Timetable, Now: l.now, Flying: l.isFlying}
	l.flying = map[string]flight{}
	var ended []flight
	for _, f := range l.flights.of(l.key, s.UID) {
		if known(s, f) {
			l.flights.forget(l.key, f.action.ID)
			continue
		}
		scheduler.Adopt(s, f.action)
		if f.outcome == nil {
			l.flying[f.action.ID] = f
			continue
		}
		ended = append(ended, f)
	}
	for _, f := range ended {
		l.Take(f.action.ID, *f.outcome)
		l.landed = append(l.landed, f.action.ID)
	}
	l.Decide()
	return nil
}

func (l *look) isFlying(id string) bool {
	_, ok := l.flying[id]
	return ok
}

// known reports whether the status has the outcome of a flight: it was written,
// though this process was told that it was not.
func known(s *v1alpha1.Schedule, f flight) bool {
	for _, a := range s.Status.Active {
		if a.ID == f.action.ID {
			return a.Attempts >= f.attempt()
		}
	}
	return scheduler.Settled(s, f.action.ID)
}

// start makes the attempts whose time has come, and ends those that were given
// up.
func (l *look) start(_ context.Context, s *v1alpha1.Schedule) error {
	for _, a := range s.Status.Active {
		switch {
		case l.isFlying(a.ID):
			if a.Cancelled != nil {
				l.flights.cancel(l.key, a.ID)
			}
		case slices.Contains(l.landed, a.ID):
			// Its outcome is written down first. The next look, at once if it is
			// time, makes the next attempt.
		case a.NextAttemptTime != nil && a.NextAttemptTime.After(l.now):
		case l.sink.err != nil:
			// Looking for the sink was the attempt.
			l.Take(a.ID, scheduler.Outcome{At: l.now, Err: l.sink.err})
		default:
			l.send(s, a)
		}
	}
	return nil
}

func (l *look) send(s *v1alpha1.Schedule, a v1alpha1.ActiveAction) {
	event, err := makeEvent(s, a)
	if err != nil {
		l.Take(a.ID, scheduler.Outcome{At: l.now, Err: err, Final: true})
		return
	}
	uri := l.sink.uri
	l.flights.start(s, a, func(ctx context.Context) error { return l.Sender.Send(ctx, uri, event) })
	l.flying[a.ID] = flight{action: a, begun: l.now}
}

// rest says how it stands and when to look again.
func (l *look) rest(_ context.Context, s *v1alpha1.Schedule) error {
	s.Status.NextTime = nil
	if next, ok := l.Upcoming(); ok {
		s.Status.NextTime = scheduler.Seconds(next)
	}
	s.Set(l.ready(s))
	after := lookAgain - spread(s, lookAgain/10)
	if wake, ok := l.Wake(); ok {
		after = min(after, wake.Sub(l.now))
	}
	after = min(after, l.sinkAgain(s), l.warmAgain(s))
	if l.mayDefer(s) {
		s.Status = *l.stored
		after = min(after, youth)
	}
	return reconcile.Wait("until the next planned time", max(after, soon))
}

// spread is a part of d that is another one for every Schedule.
func spread(s *v1alpha1.Schedule, d time.Duration) time.Duration {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(s.UID))
	return time.Duration(sum.Sum64() % uint64(d))
}
