package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// wakeTimeout is how long a function may take to start.
	wakeTimeout = time.Minute
	// maxWaking is how many are woken at once. Those that find no room have a cold
	// start, as without it.
	maxWaking = 256
)

// Waker wakes a function that may be scaled to zero.
type Waker interface {
	// Wake asks the function at an address for its health, and returns when it
	// has answered.
	Wake(ctx context.Context, uri string) error
}

// warming wakes sinks in the background. Woken twice, a function is as warm as
// once.
type warming struct {
	Waker
	room chan struct{}
	// woken are the due times that somebody was woken for.
	woken memory[time.Time]
}

func newWarming(w Waker) *warming { return &warming{Waker: w, room: make(chan struct{}, maxWaking)} }

// warm wakes the sink when a planned time is near.
func (l *look) warm(ctx context.Context, s *v1alpha1.Schedule) error {
	due, ok := l.Upcoming()
	if ahead := s.Spec.WarmAhead(); ahead == 0 || !ok || due.Sub(l.now) > ahead || l.sink.err != nil {
		return nil
	}
	if last, _ := l.warming.woken.get(l.key); last.Equal(due) {
		return nil
	}
	l.warming.woken.put(l.key, due)
	select {
	case l.warming.room <- struct{}{}:
	default:
		log.FromContext(ctx).Info("too many functions are being woken; this one will have a cold start", "sink", l.sink.uri)
		return nil
	}
	uri, logger := l.sink.uri, log.FromContext(ctx)
	go func() {
		defer func() { <-l.warming.room }()
		ctx, cancel := context.WithTimeout(context.Background(), wakeTimeout)
		defer cancel()
		if err := l.warming.Wake(ctx, uri); err != nil {
			logger.Info("the sink was not woken", "sink", uri, "why", err.Error())
		}
	}()
	return nil
}

// warmAgain is in how long the sink is to be woken.
func (l *look) warmAgain(s *v1alpha1.Schedule) time.Duration {
	due, ok := l.Upcoming()
	if ahead := due.Sub(l.now) - s.Spec.WarmAhead(); ok && s.Spec.WarmAhead() > 0 && ahead > 0 {
		return ahead
	}
	return lookAgain
}
