package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}

func table(t testing.TB, zone string, lines ...string) Timetable {
	t.Helper()
	tt, err := Parse(Times{Cron: lines, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// following lists the next planned times as the zone's clocks show them.
func following(tt Timetable, from time.Time, n int) []string {
	var out []string
	for range n {
		next, ok := tt.Next(from)
		if !ok {
			return append(out, "never")
		}
		out = append(out, next.In(tt.zone).Format("01-02 15:04 -0700"))
		from = next
	}
	return out
}

func TestNext(t *testing.T) {
	cases := map[string]struct {
		zone   string
		lines  []string
		from   string
		want   []string
		reason string
	}{
		"every minute":   {"UTC", []string{"* * * * *"}, "2026-01-01T00:00:30Z", []string{"01-01 00:01 +0000", "01-01 00:02 +0000"}, ""},
		"exactly then":   {"UTC", []string{"0 9 * * *"}, "2026-01-01T09:00:00Z", []string{"01-02 09:00 +0000"}, "after means after"},
		"several lines":  {"UTC", []string{"0 9 * * *", "0 9,12 * * *"}, "2026-01-01T08:00:00Z", []string{"01-01 09:00 +0000", "01-01 12:00 +0000"}, "a time named twice happens once"},
		"working days":   {"Europe/Berlin", []string{"30 7 * * MON-FRI"}, "2026-01-02T12:00:00Z", []string{"01-05 07:30 +0100"}, ""},
		"leap day":       {"UTC", []string{"0 0 29 2 *"}, "2026-01-01T00:00:00Z", []string{"02-29 00:00 +0000"}, "two years ahead"},
		"never":          {"UTC", []string{"0 0 30 2 *"}, "2026-01-01T00:00:00Z", []string{"never"}, ""},
		"never and ever": {"America/New_York", []string{"0 0 30 2 *", "@yearly"}, "2026-05-01T00:00:00Z", []string{"01-01 00:00 -0500"}, ""},
		"half hour zone": {"Asia/Kolkata", []string{"@daily"}, "2026-01-01T00:00:00Z", []string{"01-02 00:00 +0530"}, ""},

		"New York gap":            {"America/New_York", []string{"30 2 * * *"}, "2026-03-07T12:00:00Z", []string{"03-08 03:00 -0400", "03-09 02:30 -0400"}, "02:30 does not exist: the first moment that does"},
		"New York gap, several":   {"America/New_York", []string{"*/20 2 * * *"}, "2026-03-08T06:00:00Z", []string{"03-08 03:00 -0400", "03-09 02:00 -0400"}, "three times in the gap are one"},
		"New York gap's end":      {"America/New_York", []string{"0 2 * * *", "0 3 * * *"}, "2026-03-08T06:00:00Z", []string{"03-08 03:00 -0400", "03-09 02:00 -0400"}, "and one with what is planned there"},
		"New York fold":           {"America/New_York", []string{"30 1 * * *"}, "2026-10-31T12:00:00Z", []string{"11-01 01:30 -0400", "11-02 01:30 -0500"}, "01:30 comes twice, the first counts"},
		"New York inside fold":    {"America/New_York", []string{"30 1 * * *"}, "2026-11-01T06:10:00Z", []string{"11-02 01:30 -0500"}, "asked at the second 01:10"},
		"New York fold's end":     {"America/New_York", []string{"0 2 * * *"}, "2026-10-31T12:00:00Z", []string{"11-01 02:00 -0500"}, "02:00 comes once, after the fold"},
		"New York hourly in gap":  {"America/New_York", []string{"@hourly"}, "2026-03-08T05:30:00Z", []string{"03-08 01:00 -0500", "03-08 03:00 -0400", "03-08 04:00 -0400"}, "every hour, none twice"},
		"New York hourly in fold": {"America/New_York", []string{"15 * * * *"}, "2026-11-01T04:30:00Z", []string{"11-01 01:15 -0400", "11-01 01:15 -0500", "11-01 02:15 -0500"}, "an hour without a run would be a surprise"},

		"Berlin gap":            {"Europe/Berlin", []string{"15 2 * * *"}, "2026-03-28T12:00:00Z", []string{"03-29 03:00 +0200", "03-30 02:15 +0200"}, ""},
		"Berlin fold":           {"Europe/Berlin", []string{"0,30 2 * * *"}, "2026-10-24T12:00:00Z", []string{"10-25 02:00 +0200", "10-25 02:30 +0200", "10-26 02:00 +0100"}, ""},
		"Lord Howe gap":         {"Australia/Lord_Howe", []string{"15 2 * * *"}, "2026-10-03T10:00:00Z", []string{"10-04 02:30 +1100", "10-05 02:15 +1100"}, "half an hour only"},
		"Lord Howe after gap":   {"Australia/Lord_Howe", []string{"45 2 * * *"}, "2026-10-03T10:00:00Z", []string{"10-04 02:45 +1100"}, ""},
		"Lord Howe fold":        {"Australia/Lord_Howe", []string{"45 1 * * *"}, "2026-04-04T10:00:00Z", []string{"04-05 01:45 +1100", "04-06 01:45 +1030"}, "01:30 to 02:00 comes twice"},
		"Lord Howe before fold": {"Australia/Lord_Howe", []string{"15 1 * * *"}, "2026-04-04T10:00:00Z", []string{"04-05 01:15 +1100", "04-06 01:15 +1030"}, ""},
		"a day that never was":  {"Pacific/Apia", []string{"0 12 * * *"}, "2011-12-29T23:00:00Z", []string{"12-31 00:00 +1400", "12-31 12:00 +1400"}, "Samoa had no 30 December 2011"},
		"midnight in a gap":     {"America/Havana", []string{"@daily"}, "2026-03-07T12:00:00Z", []string{"03-08 01:00 -0400", "03-09 00:00 -0400"}, "Cuba puts the clock forward at midnight"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := following(table(t, c.zone, c.lines...), at(t, c.from), len(c.want))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// A year of every zone with changes: planned times strictly rise, a daily one
// comes once a day, an hourly one every hour.
func TestAYearInOddZones(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "America/Havana", "Asia/Tehran", "Pacific/Chatham", "Antarctica/Troll", "UTC"} {
		t.Run(zone, func(t *testing.T) {
			from, until := at(t, "2026-01-01T12:00:00Z"), at(t, "2027-01-01T12:00:00Z")
			for _, daily := range []string{"30 1 * * *", "15 2 * * *", "0 0 * * *"} {
				tt := table(t, zone, daily)
				seen := map[string]int{}
				for now, ok := tt.Next(from); now.Before(until); now, ok = tt.Next(now) {
					if !ok {
						t.Fatal("it ends")
					}
					seen[now.In(tt.zone).Format(time.DateOnly)]++
				}
				for day, n := range seen {
					if n != 1 {
						t.Errorf("%q ran %d times on %s", daily, n, day)
					}
				}
				if len(seen) != 365 {
					t.Errorf("%q ran on %d days", daily, len(seen))
				}
			}
			tt := table(t, zone, "@hourly")
			for now, _ := tt.Next(from); now.Before(until); {
				next, _ := tt.Next(now)
				if gap := next.Sub(now); gap > 90*time.Minute || gap < time.Hour {
					t.Errorf("%v between %v and %v", gap, now, next)
				}
				now = next
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct{ line, zone, want string }{
		"library panics":  {"TZ=UTC", "UTC", "five fields"},
		"zone in line":    {"CRON_TZ=Asia/Tokyo 0 0 * * *", "UTC", "own field"},
		"every nothing":   {"@every", "UTC", "five fields"},
		"every 0s":        {"@every 0s", "UTC", "at least 1s"},
		"every word":      {"@every day", "UTC", "no duration"},
		"too many":        {"0 0 0 * * * 2026", "UTC", "five fields"},
		"too few":         {"* * * *", "UTC", "five fields"},
		"range":           {"61 * * * *", "UTC", "61"},
		"step":            {"*/0 * * * *", "UTC", "step"},
		"name":            {"* * * FOO *", "UTC", "FOO"},
		"unicode":         {"٣ * * * *", "UTC", "five fields"},
		"long":            {strings.Repeat("1,", 80) + "1 * * * *", "UTC", "no cron line"},
		"unknown zone":    {"* * * * *", "Mars/Olympus", "IANA"},
		"local zone":      {"* * * * *", "Local", "no time zone"},
		"no zone":         {"* * * * *", "", "no time zone"},
		"zone as a path":  {"* * * * *", "../../etc/passwd", "IANA"},
		"nothing":         {"", "UTC", "five fields"},
		"new line inside": {"* * * * *\n* * * * *", "UTC", "five fields"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(Times{Cron: []string{c.line}, Zone: c.zone})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	start, end := at(t, "2026-01-01T00:00:00Z"), at(t, "2025-01-01T00:00:00Z")
	whole := map[string]struct {
		times Times
		want  string
	}{
		"nothing":           {Times{Zone: "UTC"}, "set cron or at"},
		"end before start":  {Times{Cron: []string{"@daily"}, Zone: "UTC", Start: start, End: end}, "endTime"},
		"jitter":            {Times{Cron: []string{"0 9,17 * * *"}, Zone: "UTC", Jitter: 9 * time.Hour}, "longer than the 8h0m0s between"},
		"jitter at single":  {Times{At: []time.Time{start, start.Add(time.Minute)}, Zone: "UTC", Jitter: time.Hour}, "longer than the 1m0s between"},
		"jitter intervals":  {Times{Cron: []string{"@every 30s"}, Zone: "UTC", Jitter: 31 * time.Second}, "longer than the 30s"},
		"400 fields":        {Times{Cron: []string{strings.Repeat("* ", 400)}, Zone: "UTC"}, "no cron line"},
		"an overflow":       {Times{Cron: []string{"@every 99999999h"}, Zone: "UTC"}, "no duration"},
		"more than a year":  {Times{Cron: []string{"@every 8785h"}, Zone: "UTC"}, "at most 8784h"},
		"half a second":     {Times{Cron: []string{"@every 1500ms"}, Zone: "UTC"}, "whole seconds"},
		"a negative period": {Times{Cron: []string{"@every -1h"}, Zone: "UTC"}, "at least 1s"},
	}
	for name, c := range whole {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(c.times); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{"* * * * *", "TZ=UTC", "@daily", "*/5 1-3 ? JAN-MAR MON,FRI", "0 0 30 2 *"} {
		f.Add(line)
	}
	now := time.Date(2026, 3, 8, 6, 59, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, line string) {
		tt, err := Parse(Times{Cron: []string{line}, Zone: "America/New_York"})
		if err != nil {
			return
		}
		if next, ok := tt.Next(now); ok && !next.After(now) {
			t.Errorf("%q: %v is not after %v", line, next, now)
		}
	})
}

func TestTimesOfOtherKinds(t *testing.T) {
	cases := map[string]struct {
		times  Times
		from   string
		want   []string
		reason string
	}{
		"seconds":            {Times{Cron: []string{"*/20 * * * * *"}}, "2026-01-01T00:00:01Z", []string{"00:00:20", "00:00:40", "00:01:00"}, ""},
		"interval":           {Times{Cron: []string{"@every 11m"}}, "2026-01-01T00:00:00Z", []string{"00:05:00", "00:16:00"}, "it counts from 1970"},
		"interval exactly":   {Times{Cron: []string{"@every 1h"}}, "2026-01-01T00:00:00Z", []string{"01:00:00", "02:00:00"}, "after means after"},
		"interval and start": {Times{Cron: []string{"@every 7m"}, Start: at(t, "2026-01-01T00:01:00Z")}, "2026-01-01T00:00:00Z", []string{"00:01:00", "00:08:00"}, "it counts from the start"},
		"single times":       {Times{At: []time.Time{at(t, "2026-01-01T03:00:00Z"), at(t, "2026-01-01T01:00:00Z"), at(t, "2026-01-01T01:00:00Z")}}, "2026-01-01T00:00:00Z", []string{"01:00:00", "03:00:00", "never"}, "in their order, none twice"},
		"with lines":         {Times{Cron: []string{"0 2 * * *"}, At: []time.Time{at(t, "2026-01-01T01:00:00Z")}}, "2026-01-01T00:00:00Z", []string{"01:00:00", "02:00:00"}, ""},
		"start and end":      {Times{Cron: []string{"@hourly"}, Start: at(t, "2026-01-01T05:00:00Z"), End: at(t, "2026-01-01T06:00:00Z")}, "2026-01-01T00:00:00Z", []string{"05:00:00", "06:00:00", "never"}, "both included"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.times.Zone = "UTC"
			tt, err := Parse(c.times)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for from := at(t, c.from); len(got) < len(c.want); {
				next, ok := tt.Next(from)
				if !ok {
					got = append(got, "never")
					break
				}
				got = append(got, next.Format(time.TimeOnly))
				from = next
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestJitter(t *testing.T) {
	of := func(seed string) Timetable {
		tt, err := Parse(Times{Cron: []string{"* * * * *"}, Zone: "UTC", Jitter: 30 * time.Second, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return tt
	}
	a, b := of("a"), of("b")
	planned, last := at(t, "2026-01-01T00:00:00Z"), time.Time{}
	var sum time.Duration
	same := 0
	for range 1000 {
		planned, _ = a.Next(planned)
		due := a.Due(planned)
		if late := due.Sub(planned); late < 0 || late >= 30*time.Second {
			t.Fatalf("%v is put off by %v", planned, late)
		}
		if !due.After(last) {
			t.Fatalf("%v comes before %v", due, last)
		}
		if a.Due(planned) != due {
			t.Fatal("asked twice, it says two things")
		}
		if b.Due(planned) == due {
			same++
		}
		sum += due.Sub(planned)
		last = due
	}
	if mean := sum / 1000; mean < 13*time.Second || mean > 17*time.Second || same > 5 {
		t.Errorf("on average %v, %d times the same as another schedule's", mean, same)
	}
}

func TestBackoff(t *testing.T) {
	want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60}
	for n, seconds := range want {
		if got := Backoff(int32(n)); got != seconds*time.Second {
			t.Errorf("after %d attempts %v, want %v", n, got, seconds*time.Second)
		}
	}
}

func TestIdentities(t *testing.T) {
	planned := at(t, "2026-03-08T03:00:00-04:00")
	if a, b := EventID("u", planned, ""), EventID("u", planned.In(time.FixedZone("x", 3600)), ""); a != b || a != "u-20260308T070000Z" {
		t.Errorf("ids %q and %q", a, b)
	}
	if id := EventID("u", planned, "fix"); id != "u-20260308T070000Z-fix" {
		t.Errorf("id of a request %q", id)
	}
	base := Times{Cron: []string{"a", "b"}, Zone: "UTC"}
	other := map[string]Times{
		"lines": {Cron: []string{"a"}, Zone: "UTC"},
		"zone":  {Cron: []string{"a", "b"}, Zone: "Asia/Tokyo"},
		"at":    {Cron: []string{"a", "b"}, Zone: "UTC", At: []time.Time{planned}},
		"start": {Cron: []string{"a", "b"}, Zone: "UTC", Start: planned},
		"end":   {Cron: []string{"a", "b"}, Zone: "UTC", End: planned},
	}
	for name, times := range other {
		if times.Fingerprint() == base.Fingerprint() {
			t.Errorf("%s do not count", name)
		}
	}
	if (Times{Cron: []string{"a", "b"}, Zone: "UTC", Jitter: time.Second}).Fingerprint() != base.Fingerprint() {
		t.Error("the jitter counts")
	}
}
