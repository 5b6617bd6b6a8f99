package scheduler

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	// The database of time zones: the control plane's image has none.
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

// Timetable is a set of cron lines in a time zone.
type Timetable struct {
	lines []line
	zone  *time.Location
}

// line is one cron line, read as a clock on the wall shows the time.
type line struct {
	spec *cron.SpecSchedule
	// everyHour says that the hour is "*": see next.
	everyHour bool
}

// names are the lines that have a name. "@every" is not among them: it depends
// on when somebody began to count.
var names = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// fields is checked before the library parses: it panics on some texts with a
// time zone in them, such as "TZ=UTC".
var fields = regexp.MustCompile(`^[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4}$`)

// maxLine is the longest cron line, in bytes.
const maxLine = 128

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Parse reads cron lines of five fields, or names such as "@daily", and the name
// of a zone in the IANA database.
func Parse(lines []string, zone string) (Timetable, error) {
	if len(lines) == 0 {
		return Timetable{}, fmt.Errorf("there is no cron line")
	}
	// LoadLocation also takes "" and "Local", which mean something else on every
	// machine.
	if zone == "" || zone == "Local" {
		return Timetable{}, fmt.Errorf("%q is no time zone; use a name such as \"Europe/Berlin\" or \"UTC\"", zone)
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return Timetable{}, fmt.Errorf("%q is no time zone of the IANA database; use a name such as \"Europe/Berlin\"", zone)
	}
	t := Timetable{zone: location}
	for _, text := range lines {
		l, err := parseLine(text)
		if err != nil {
			return Timetable{}, err
		}
		t.lines = append(t.lines, l)
	}
	return t, nil
}

func parseLine(text string) (line, error) {
	expanded, named := names[text]
	if !named {
		expanded = strings.TrimSpace(text)
	}
	if len(expanded) > maxLine || !fields.MatchString(expanded) {
		return line{}, fmt.Errorf("%.40q is no cron line; write five fields (minute, hour, day of month, month, day of week) or one of %s; a time zone has its own field",
			text, strings.Join(slices.Sorted(keys(names)), ", "))
	}
	schedule, err := parser.Parse(expanded)
	if err != nil {
		return line{}, fmt.Errorf("cron line %q: %w", text, err)
	}
	spec, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return line{}, fmt.Errorf("cron line %q: not understood", text)
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

// Next is the first planned time after the given one. It is false when there is
// none within the next years, as for the 30th of February.
func (t Timetable) Next(after time.Time) (time.Time, bool) {
	var first time.Time
	for _, l := range t.lines {
		at, ok := l.next(after, t.zone)
		if ok && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first.UTC(), !first.IsZero()
}

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
