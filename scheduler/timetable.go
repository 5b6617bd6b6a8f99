package scheduler

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
	// The database of time zones: the control plane's image has none.
	_ "time/tzdata"
)

// Timetable is a set of planned times, all of them whole seconds.
type Timetable struct {
	lines      []rule
	at         []time.Time // in their order
	zone       *time.Location
	start, end time.Time // zero is no bound
	jitter     time.Duration
	seed       string
}

// rule is one line of a timetable.
type rule interface {
	// next is the first time after the given one; false when there is none within
	// the next years.
	next(after time.Time, zone *time.Location) (time.Time, bool)
}

// Parse reads what a person wrote. Errors name the field.
func Parse(times Times) (Timetable, error) {
	if len(times.Cron) == 0 && len(times.At) == 0 {
		return Timetable{}, errors.New("there is neither a cron line nor a time: set cron or at")
	}
	zone, err := location(times.Zone)
	if err != nil {
		return Timetable{}, fmt.Errorf("timeZone: %w", err)
	}
	t := Timetable{
		zone: zone, start: times.Start.Truncate(time.Second), end: times.End.Truncate(time.Second),
		jitter: times.Jitter, seed: times.Seed,
	}
	for _, text := range times.Cron {
		line, err := parseLine(text, t.start)
		if err != nil {
			return Timetable{}, fmt.Errorf("cron: %w", err)
		}
		t.lines = append(t.lines, line)
	}
	for _, at := range times.At {
		t.at = append(t.at, at.UTC().Truncate(time.Second))
	}
	slices.SortFunc(t.at, time.Time.Compare)
	if !t.end.IsZero() && t.end.Before(t.start) {
		return Timetable{}, errors.New("endTime: it is before startTime")
	}
	return t, t.checkJitter()
}

// location finds a time zone by name. LoadLocation also takes "" and "Local",
// which mean something else on every machine.
func location(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is no time zone; use a name such as \"Europe/Berlin\" or \"UTC\"", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone of the IANA database; use a name such as \"Europe/Berlin\"", name)
	}
	return zone, nil
}

// Next is the first planned time after the given one, without jitter. It is
// false when there is none within the next years, as for the 30th of February.
func (t Timetable) Next(after time.Time) (time.Time, bool) {
	if after.Before(t.start) {
		// The first moment counts as well.
		after = t.start.Add(-time.Nanosecond)
	}
	var first time.Time
	for _, l := range t.lines {
		if at, ok := l.next(after, t.zone); ok && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if i := slices.IndexFunc(t.at, after.Before); i >= 0 && (first.IsZero() || t.at[i].Before(first)) {
		first = t.at[i]
	}
	if first.IsZero() || !t.end.IsZero() && first.After(t.end) {
		return time.Time{}, false
	}
	return first.UTC(), true
}

// Due is when a planned time is acted on: it is put off by the jitter, as far as
// follows from the seed and that time.
func (t Timetable) Due(planned time.Time) time.Time {
	if t.jitter < time.Millisecond {
		return planned
	}
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s\x00%d", t.seed, planned.Unix())
	return planned.Add(time.Duration(sum.Sum64()%uint64(t.jitter/time.Millisecond)) * time.Millisecond)
}

// sampled is how many planned times are compared with the jitter, from the given
// day on, which begins a leap year.
const sampled = 100

var sampledFrom = time.Date(2023, 12, 31, 23, 59, 59, 0, time.UTC)

// checkJitter refuses a jitter that is longer than the time between two planned
// times, as far as a sample shows: they would change places.
func (t Timetable) checkJitter() error {
	if t.jitter == 0 {
		return nil
	}
	last, ok := t.Next(sampledFrom)
	for range sampled {
		next, more := t.Next(last)
		if !ok || !more {
			return nil
		}
		if apart := next.Sub(last); t.jitter > apart {
			return fmt.Errorf("jitter: %v is longer than the %v between %s and %s; make it shorter", t.jitter, apart,
				last.Format(time.RFC3339), next.Format(time.RFC3339))
		}
		last = next
	}
	return nil
}
