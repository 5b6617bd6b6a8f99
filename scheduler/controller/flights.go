package controller

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// The bounds of what is sent at once. Slow sinks of one namespace must not hold
// up others.
const (
	maxFlights            = 2048
	maxFlightsOfNamespace = 256
	// many under way are so many that sending goes before writing down.
	many = 128
)

// flight is an attempt under way, or one whose outcome is not stored yet.
type flight struct {
	// action is what the attempt is for, as it stood before.
	action v1alpha1.ActiveAction
	// begun is when the attempt was asked for.
	begun     time.Time
	cancel    context.CancelFunc
	cancelled bool
	// outcome is nil while the attempt is under way.
	outcome *scheduler.Outcome
}

// attempt is the number of the attempt, from one on.
func (f flight) attempt() int32 { return f.action.Attempts + 1 }

// flights makes attempts beside the reconciler, which only looks and writes. What
// it knows is lost with the process and can be: whoever comes next finds in the
// status what is not settled, and tries it again.
type flights struct {
	// landed is told when an attempt has ended, and whether many others have not.
	landed func(key client.ObjectKey, crowded bool)
	now    func() time.Time

	mu         sync.Mutex
	schedules  map[client.ObjectKey]*scheduleFlights
	namespaces map[string]chan struct{}
	slots      chan struct{}
	underWay   int // attempts that have not ended
}

// scheduleFlights are the flights of one Schedule, by the id of the action.
type scheduleFlights struct {
	uid types.UID
	all map[string]*flight
}

func newFlights(now func() time.Time, landed func(client.ObjectKey, bool)) *flights {
	return &flights{
		landed: landed, now: now, schedules: map[client.ObjectKey]*scheduleFlights{},
		namespaces: map[string]chan struct{}{}, slots: make(chan struct{}, maxFlights),
	}
}

// of are the flights of a Schedule in the order of their planned times. Those of
// an earlier Schedule of that name are cancelled and forgotten.
func (f *flights) of(key client.ObjectKey, uid types.UID) []flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.schedules[key]
	if d == nil {
		return nil
	}
	if d.uid != uid {
		f.dropLocked(key)
		return nil
	}
	all := make([]flight, 0, len(d.all))
	for _, one := range d.all {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b flight) int {
		return cmp.Or(a.action.PlannedTime.Compare(b.action.PlannedTime.Time), cmp.Compare(a.action.ID, b.action.ID))
	})
	return all
}

// start makes one attempt in the background, unless that action has a flight.
func (f *flights) start(s *v1alpha1.Schedule, a v1alpha1.ActiveAction, send func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := client.ObjectKeyFromObject(s)
	d := f.schedules[key]
	if d == nil {
		d = &scheduleFlights{uid: s.UID, all: map[string]*flight{}}
		f.schedules[key] = d
	}
	if d.all[a.ID] != nil {
		return
	}
	namespace := f.namespaces[key.Namespace]
	if namespace == nil {
		namespace = make(chan struct{}, maxFlightsOfNamespace)
		f.namespaces[key.Namespace] = namespace
	}
	ctx, cancel := context.WithCancel(context.Background())
	one := &flight{action: a, begun: f.now(), cancel: cancel}
	d.all[a.ID] = one
	f.underWay++
	// The Schedule itself is the reconciler's, which goes on changing it.
	timeout := s.Spec.SinkTimeout()
	go func() {
		defer cancel()
		err := f.send(ctx, namespace, timeout, send)
		f.mu.Lock()
		one.outcome = &scheduler.Outcome{At: f.now(), Err: err, Final: Permanent(err)}
		f.underWay--
		crowded := f.underWay >= many
		f.mu.Unlock()
		f.landed(key, crowded)
	}()
}

// send waits for its turn, and then not longer than the timeout.
func (f *flights) send(ctx context.Context, namespace chan struct{}, timeout time.Duration, send func(context.Context) error) error {
	for _, slots := range []chan struct{}{namespace, f.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return errCancelled
		}
	}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, errSilent)
	defer cancel()
	err := send(bounded)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errCancelled
	case bounded.Err() != nil:
		return errSilent
	}
	return err
}

var (
	errCancelled = errors.New("the attempt was cancelled")
	errSilent    = errors.New("the sink did not answer within spec.timeout; allow it more time there, or look at its log")
)

// cancel ends an attempt early; it lands like any other.
func (f *flights) cancel(key client.ObjectKey, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.schedules[key]; d != nil && d.all[id] != nil {
		d.all[id].cancelled = true
		d.all[id].cancel()
	}
}

// forget drops flights whose outcomes are stored.
func (f *flights) forget(key client.ObjectKey, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.schedules[key]
	if d == nil {
		return
	}
	for _, id := range ids {
		delete(d.all, id)
	}
	if len(d.all) == 0 {
		delete(f.schedules, key)
	}
}

// drop cancels and forgets everything about a Schedule that is gone.
func (f *flights) drop(key client.ObjectKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLocked(key)
}

func (f *flights) dropLocked(key client.ObjectKey) {
	if d := f.schedules[key]; d != nil {
		for _, one := range d.all {
			one.cancel()
		}
		delete(f.schedules, key)
	}
}
