package scheduler

import (
	"fmt"
	"time"
)

// interval is a rule such as "@every 90s".
type interval struct {
	every time.Duration
	from  time.Time
}

// maxInterval is the longest interval.
const maxInterval = 366 * 24 * time.Hour

// parseInterval reads a duration. It counts from start, or from 1970: then it is
// the same for everybody, whenever they began to count.
func parseInterval(line, text string, start time.Time) (rule, error) {
	every, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.40q: %.40q is no duration such as 90s or 1h30m", line, text)
	case every < time.Second || every > maxInterval || every%time.Second != 0:
		return nil, fmt.Errorf("%.40q: an interval is whole seconds, at least 1s and at most %dh", line, int(maxInterval.Hours()))
	case start.IsZero():
		start = time.Unix(0, 0).UTC()
	}
	return interval{every: every, from: start}, nil
}

func (i interval) next(after time.Time, _ *time.Location) (time.Time, bool) {
	if after.Before(i.from) {
		return i.from, true
	}
	return i.from.Add((after.Sub(i.from)/i.every + 1) * i.every), true
}
