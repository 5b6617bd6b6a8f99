package scheduler

import "time"

// MaxCount is how many planned times are counted at most; that many mean "or
// more". A line for every minute has half a million of them in a year.
const MaxCount = 1000

// Span is a run of planned times that one thing became of.
type Span struct {
	First, Last time.Time // zero when there is none
	Count       int       // at most MaxCount
}

// Between are the planned times after one time and not after another, as far as
// they are due by then.
func (t Timetable) Between(after, until time.Time) Span {
	var s Span
	for at, ok := t.Next(after); ok && !t.Due(at).After(until) && s.Count < MaxCount; at, ok = t.Next(at) {
		if s.Count == 0 {
			s.First = at
		}
		s.Last = at
		s.Count++
	}
	return s
}

// EventID is the id of the event of a planned time, and of the request for it,
// if any. Whoever sends it, and how often, it is the same.
func EventID(uid string, planned time.Time, request string) string {
	id := uid + "-" + planned.UTC().Format("20060102T150405Z")
	if request != "" {
		id += "-" + request
	}
	return id
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
