package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// freshSink is how old an address may be that is sent to; sinkKept how old one
	// may be while nothing is due.
	freshSink = time.Minute
	sinkKept  = 10 * time.Minute
	// ahead is how long before a planned time the address is looked up, at most
	// and at least, so that nothing but sending is left to do then.
	aheadMost, aheadLeast = 40 * time.Second, 10 * time.Second
	// A sink that has no address is looked up again soon; one that is not there
	// less often, the longer that lasts.
	sinkSoon, sinkLate = 2 * time.Second, time.Minute
)

// Resolver finds the address of a destination.
type Resolver interface {
	// Resolve returns an absolute URL, or an *Unresolved.
	Resolve(ctx context.Context, namespace string, sink v1alpha1.Destination) (string, error)
}

// sink is the address of a Schedule's sink as it was last looked up.
type sink struct {
	generation int64
	at         time.Time
	uri        string
	// err says why there is no address, condition the same for the Schedule.
	err       error
	condition metav1.Condition
	// since is when looking it up began to fail.
	since time.Time
}

// sinks keeps addresses, because looking one up is a request to the API server.
type sinks struct {
	Resolver
	memory[sink]
}

// resolve finds the sink, also while nothing is due, so that a wrong one shows
// at once.
func (l *look) resolve(ctx context.Context, s *v1alpha1.Schedule) error {
	known, ok := l.sinks.get(l.key)
	if !ok {
		known, ok = fromStatus(s, l.now)
	}
	if l.sink = known; ok && known.generation == s.Generation && l.now.Sub(known.at).Abs() < l.mayKeep(s, known) {
		return nil
	}
	found := sink{generation: s.Generation, at: l.now}
	found.uri, found.err = l.sinks.Resolve(ctx, s.Namespace, s.Spec.Sink)
	if found.err != nil {
		found.since = l.now
		if known.err != nil && known.generation == s.Generation {
			found.since = known.since
		}
		found.condition = conditionOf(found.err)
	}
	l.sink = found
	l.sinks.put(l.key, found)
	s.Status.SinkURI = found.uri
	return nil
}

// fromStatus is the address that the status has, as if looked up some time ago:
// a process that begins does not look up thousands at once.
func fromStatus(s *v1alpha1.Schedule, now time.Time) (sink, bool) {
	at := now.Add(-spread(s, sinkKept))
	return sink{generation: s.Status.ObservedGeneration, at: at, uri: s.Status.SinkURI}, s.Status.SinkURI != ""
}

// mayKeep is how old the known address may be.
func (l *look) mayKeep(s *v1alpha1.Schedule, known sink) time.Duration {
	if known.err != nil {
		return l.failing(known)
	}
	keep := sinkKept
	if due, ok := l.Upcoming(); ok && due.Sub(l.now) <= aheadMost {
		keep = freshSink - aheadLeast
	}
	for _, a := range s.Status.Active {
		switch {
		case l.isFlying(a.ID) || a.NextAttemptTime != nil && a.NextAttemptTime.After(l.now):
		case a.Attempts > 0:
			// It was not taken there.
			return 0
		default:
			keep = freshSink
		}
	}
	return keep
}

// failing is in how long a sink that has no address is looked up again. One that
// is on its way is waited for: somebody deploys it just now.
func (l *look) failing(known sink) time.Duration {
	if known.condition.Reason == v1alpha1.ReasonSinkNotReady {
		return sinkSoon
	}
	return min(max(sinkSoon, l.now.Sub(known.since)/2), sinkLate)
}

// sinkAgain is in how long the sink is to be looked up again.
func (l *look) sinkAgain(s *v1alpha1.Schedule) time.Duration {
	if l.sink.err != nil {
		return l.failing(l.sink)
	}
	due, ok := l.Upcoming()
	if !ok {
		return lookAgain
	}
	ahead := due.Sub(l.now) - aheadLeast - spread(s, aheadMost-aheadLeast)
	if ahead <= 0 {
		return lookAgain
	}
	return ahead
}

func conditionOf(err error) metav1.Condition {
	if unresolved, ok := asUnresolved(err); ok {
		return v1alpha1.False(v1alpha1.ConditionReady, unresolved.Reason, unresolved.Error())
	}
	// The API server did not answer.
	return v1alpha1.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonSinkNotReady, err.Error())
}
