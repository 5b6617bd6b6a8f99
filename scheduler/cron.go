package scheduler

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// line is one cron line, read as a clock on the wall shows the time.
type line struct {
	spec *cron.SpecSchedule
	// everyHour says that the hour is "*": see next.
	everyHour bool
}

// names are the lines that have a name.
var names = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// fields is checked before the library parses: it panics on some texts with a
// time zone in them, such as "TZ=UTC".
var fields = regexp.MustCompile(`^[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4,5}$`)

// maxLine is the longest cron line, in bytes.
const maxLine = 128

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// parseLine reads a line of five or six fields, a name such as "@daily" or an
// interval, which counts from start.
func parseLine(text string, start time.Time) (rule, error) {
	expanded, named := names[text]
	if !named {
		expanded = strings.TrimSpace(text)
	}
	if every, ok := strings.CutPrefix(expanded, "@every "); ok && len(expanded) <= maxLine {
		return parseInterval(text, strings.TrimSpace(every), start)
	}
	if len(expanded) > maxLine || !fields.MatchString(expanded) {
		return nil, fmt.Errorf("%.40q is no cron line; write five fields (minute, hour, day of month, month, day of week), six with seconds first, \"@every 90s\" or one of %s; a time zone has its own field",
			text, strings.Join(slices.Sorted(keys(names)), ", "))
	}
	schedule, err := parser.Parse(expanded)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	spec, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q is not understood", text)
	}
	// The fields are read as UTC, which has no gaps; next adds the zone.
	spec.Location = time.UTC
	const allHours = 1<<24 - 1
	return line{spec: spec, everyHour: spec.Hour&allHours == allHours}, nil
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// maxPeriods is how many changes of a zone's offset are looked at. The library
// looks five years ahead; no zone changes more often than this in five years.
const maxPeriods = 100

// next walks through the periods in which the zone has one offset. Within a
// period the clock on the wall runs like any other.
//
// Where the clock is put forward, what was planned in the gap runs once, at the
// first moment after it. Where it is put back, a time that comes twice runs the
// first time only. A line for every hour follows the hours instead: it has
// nothing to make up for, and both hours of the same name are hours.
func (l line) next(after time.Time, zone *time.Location) (time.Time, bool) {
	at := after.In(zone)
	wall := onTheWall(at)
	for range maxPeriods {
		start, end := at.ZoneBounds()
		_, offset := at.Zone()
		if shown := shownBefore(start); !l.everyHour && wall.Before(shown) {
			wall = shown
		}
		planned := l.spec.Next(wall)
		if planned.IsZero() {
			return time.Time{}, false
		}
		instant := planned.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || instant.Before(end) {
			return instant, true
		}
		resumes := onTheWall(end)
		if !l.everyHour && planned.Before(resumes) {
			return end, true
		}
		at, wall = end, resumes.Add(-time.Nanosecond)
	}
	return time.Time{}, false
}

// onTheWall is what a clock on the wall shows at that time, as if it were UTC.
func onTheWall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// shownBefore is the last moment that the clock on the wall showed before a
// period began, as if it were UTC.
func shownBefore(start time.Time) time.Time {
	if start.IsZero() {
		return time.Time{}
	}
	return onTheWall(start.Add(-time.Nanosecond))
}
