package scheduler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Plan is what follows from a timetable at a time.
type Plan struct {
	// Due is the oldest planned time that is to be acted on now; zero is none.
	Due time.Time
	// Next is the first planned time after now; zero is none.
	Next time.Time
	// Missed are the planned times that are too old to be acted on.
	Missed Missed
	// Handled is the time up to which everything is settled, once Missed is
	// recorded.
	Handled time.Time
}

// Missed is a run of planned times.
type Missed struct {
	First time.Time // zero when there is none
	Count int       // at most maxMissed; that many means "or more"
}

// maxMissed bounds how many missed times are counted. A line for every minute
// has half a million of them in a year.
const maxMissed = 1000

// Plan says what to do. handled is the time up to which everything was settled,
// window how late something may still happen.
func (t Timetable) Plan(handled, now time.Time, window time.Duration) Plan {
	p := Plan{Handled: handled}
	if horizon := now.Add(-window); handled.Before(horizon) {
		p.Missed = t.missed(handled, horizon)
		// A time at the horizon itself can still happen.
		p.Handled = horizon.Add(-time.Nanosecond)
	}
	if due, ok := t.Next(p.Handled); ok && !due.After(now) {
		p.Due = due
	}
	// When the clock went back, what comes next is after what was handled.
	from := now
	if p.Handled.After(now) {
		from = p.Handled
	}
	if next, ok := t.Next(from); ok {
		p.Next = next
	}
	return p
}

func (t Timetable) missed(handled, horizon time.Time) Missed {
	var m Missed
	for at, ok := t.Next(handled); ok && at.Before(horizon) && m.Count < maxMissed; at, ok = t.Next(at) {
		if m.Count == 0 {
			m.First = at
		}
		m.Count++
	}
	return m
}

// Fingerprint identifies what LastHandledTime belongs to: other lines, another
// zone or a suspension are another timetable, which plans nothing in the past.
func Fingerprint(lines []string, zone string, suspended bool) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%s\x00%v", strings.Join(lines, "\n"), zone, suspended)))
	return hex.EncodeToString(sum[:8])
}

// EventID is the id of the event of a planned time. Whoever sends it, and how
// often, it is the same.
func EventID(uid string, planned time.Time) string {
	return uid + "-" + planned.UTC().Format("20060102T150405Z")
}

const (
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// Backoff is how long to wait after that many failed attempts: 1 s, 2 s, 4 s and
// so on, at most a minute.
func Backoff(attempts int32) time.Duration {
	if attempts < 1 {
		return 0
	}
	if attempts > 6 {
		return maxBackoff
	}
	return firstBackoff << (attempts - 1)
}
