package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
	"github.com/knit-dev/knit/scheduler"
)

// life is the years of a Schedule under hard circumstances, and the account of
// what became of each planned time.
type life struct {
	*world
	random *rand.Rand
	// became are the planned times in the history, by what it says of them.
	became map[time.Time]string
	// newest is the top of the history when it was last looked at.
	newest v1alpha1.ScheduleAction
	deaths int
}

func newLife(t *testing.T, seed uint64, options ...option) *life {
	l := &life{
		world: newWorld(t, append([]option{func(s *v1alpha1.Schedule) {
			limit := int32(30)
			s.Spec.HistoryLimit = &limit
			s.Spec.Cron, s.Spec.TimeZone = []string{"30 2 * * *", "@every 33h"}, "America/New_York"
		}}, options...)...),
		random: rand.New(rand.NewPCG(seed, 1)), became: map[time.Time]string{},
	}
	l.answer = func(cloudevents.Event) error {
		switch n := l.draw(100); {
		case n < 3:
			return permanent(fmt.Errorf("refused"))
		case n < 10:
			return fmt.Errorf("busy")
		}
		return nil
	}
	return l
}

// draw is safe beside the attempts under way.
func (l *life) draw(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(n)
}

// step looks once, perhaps for the last time of a process, and moves the clock on
// to the next look, or much further: a time without any process.
func (l *life) step() {
	l.t.Helper()
	crash := reconciletest.Crash{}
	if l.draw(14) == 0 {
		crash = reconciletest.Crash{At: 1, Done: l.draw(2) == 0}
	}
	l.survives = l.draw(3) == 0
	result, writes, err := l.look(crash)
	died := crash.At > 0 && writes >= crash.At
	if err != nil && !died {
		l.t.Fatal(err)
	}
	if died = died && !l.survives; died {
		l.deaths++
	}
	l.account()
	switch {
	case died && l.draw(2) == 0:
		l.set(l.now.Add(time.Duration(l.draw(100)) * time.Hour))
	case died || l.news():
	case l.draw(100) == 0:
		// Another leader, with nothing in its memory.
		l.process = nil
	case err != nil:
		l.set(l.now.Add(time.Second))
	default:
		l.set(l.now.Add(max(result.RequeueAfter, l.quiet(), time.Millisecond)))
	}
}

// quiet is for how long looks would find nothing to do, but for the last one
// before the next planned time.
func (l *life) quiet() time.Duration {
	s := l.schedule()
	if len(s.Status.Active) > 0 || s.Status.NextTime == nil {
		return 0
	}
	return s.Status.NextTime.Sub(l.now) - aheadMost
}

// account takes over what is new in the history, and fails when a planned time
// appears a second time.
func (l *life) account() {
	history := l.schedule().Status.LastActions
	n := slices.IndexFunc(history, func(a v1alpha1.ScheduleAction) bool { return a.PlannedTime.Equal(&l.newest.PlannedTime) })
	if n < 0 {
		n = len(history)
		if n == 30 {
			l.t.Fatal("the history is too short for this account")
		}
	}
	for _, a := range history[:n] {
		at := a.PlannedTime.Time.UTC()
		for range max(a.Count, 1) {
			if was, twice := l.became[at]; twice {
				l.t.Fatalf("%v is settled twice: %s and %s", at, was, a.Result)
			}
			l.became[at] = string(a.Result)
			at, _ = l.timetable().Next(at)
		}
	}
	if len(history) > 0 {
		l.newest = history[0]
	}
}

func (l *life) timetable() scheduler.Timetable {
	timetable, err := scheduler.Parse(scheduler.TimesOf(l.schedule()))
	if err != nil {
		l.t.Fatal(err)
	}
	return timetable
}

// A Schedule whose processes die at any write, whose API server does not answer,
// or not in time, whose sink is busy and whose leaders change, for a year without
// and a year with jitter: every planned time is settled exactly once, what was
// delivered was sent, and what was sent twice has the same id.
func TestYearsOfASchedule(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := newLife(t, seed, func(s *v1alpha1.Schedule) {
				if seed == 1 {
					s.Spec.Jitter = &metav1.Duration{Duration: 9 * time.Minute}
				}
			})
			began := l.schedule().CreationTimestamp.Time
			for end := began.AddDate(1, 0, 0); l.now.Before(end); {
				l.step()
			}
			s := l.schedule()
			sent := map[string]bool{}
			for _, e := range l.sent {
				sent[e.ID()] = true
			}
			results := map[string]int{}
			table := l.timetable()
			for at, _ := table.Next(began); !at.After(s.Status.LastHandledTime.Time); at, _ = table.Next(at) {
				active := slices.ContainsFunc(s.Status.Active, func(a v1alpha1.ActiveAction) bool { return a.PlannedTime.Time.Equal(at) })
				result := l.became[at.UTC()]
				if (result == "") != active {
					t.Errorf("%v is not accounted for: %q, active %v", at, result, active)
				}
				if result == "Delivered" && !sent[scheduler.EventID("u", at, "")] {
					t.Errorf("%v counts as delivered and was never sent", at)
				}
				results[result]++
			}
			t.Logf("%v, %d attempts, %d deaths", results, len(l.sent), l.deaths)
			if results["Delivered"] < 500 || results["Missed"] == 0 || results["Failed"] == 0 || l.deaths < 10 {
				t.Errorf("the circumstances were not as hard as meant: %v, %d deaths", results, l.deaths)
			}
		})
	}
}

// The clock is set an hour or ten years forth and back, and is right again after
// a while: nothing is sent under another id, nothing under the same id twice, and
// once it has been right for longer than the window nothing is left out.
func TestYearsWithAWrongClock(t *testing.T) {
	const long = 10 * 365 * 24 * time.Hour
	for name, off := range map[string]time.Duration{"an hour fast": time.Hour, "an hour slow": -time.Hour, "ten years fast": long, "ten years slow": -long} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cron("*/10 * * * *"))
			w.until("12:05:00")
			for round := range 5 {
				w.set(w.now.Add(off))
				w.awake(time.Duration(10*round+7) * time.Minute)
				w.set(w.now.Add(-off))
				w.awake(3 * time.Hour)
			}
			seen := map[string]int{}
			for _, e := range w.sent {
				seen[e.ID()]++
				if seen[e.ID()] > 1 {
					t.Errorf("%s was sent %d times", e.ID(), seen[e.ID()])
				}
			}
			w.awake(3 * time.Hour)
			for at := w.now.Add(-2 * time.Hour).Truncate(10 * time.Minute); at.Before(w.now); at = at.Add(10 * time.Minute) {
				if id := scheduler.EventID("u", at, ""); at.After(w.now.Add(-2*time.Hour)) && !slices.ContainsFunc(w.sent, func(e cloudevents.Event) bool { return e.ID() == id }) {
					t.Errorf("%s was never sent, though the clock was right", id)
				}
			}
		})
	}
}

// awake lets the controller look for a time whenever it wants to, beginning now.
func (w *world) awake(long time.Duration) {
	w.t.Helper()
	for end := w.now.Add(long); ; {
		result, _, err := w.look(reconciletest.Crash{})
		if err != nil {
			w.t.Fatal(err)
		}
		if w.news() {
			continue
		}
		next := w.now.Add(max(result.RequeueAfter, time.Millisecond))
		if result.RequeueAfter == 0 || next.After(end) {
			w.set(end)
			return
		}
		w.set(next)
	}
}
