package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// play is a Schedule whose attempts end when a test says so.
type play struct {
	t      testing.TB
	s      *v1alpha1.Schedule
	flying map[string]bool
}

func moment(clock string) time.Time {
	v, err := time.Parse(time.DateTime, "2026-01-01 "+clock)
	if err != nil {
		panic(err)
	}
	return v
}

func stamp(clock string) *metav1.Time { return ptr.To(metav1.NewTime(moment(clock))) }

// newPlay is about a Schedule for every ten minutes that was made at 10:00:30.
func newPlay(t testing.TB, change func(*v1alpha1.Schedule)) *play {
	s := &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Name: "tick", UID: "u", CreationTimestamp: *stamp("10:00:30")},
		Spec:       v1alpha1.ScheduleSpec{Cron: []string{"*/10 * * * *"}},
	}
	if change != nil {
		change(s)
	}
	return &play{t: t, s: s, flying: map[string]bool{}}
}

func (p *play) decider(clock string) Decider {
	p.t.Helper()
	timetable, err := Parse(TimesOf(p.s))
	if err != nil {
		p.t.Fatal(err)
	}
	return Decider{Schedule: p.s, Timetable: timetable, Now: moment(clock), Flying: func(id string) bool { return p.flying[id] }}
}

// at decides at a time, starts what may be started, and tells how it stands.
func (p *play) at(clock string) string {
	p.t.Helper()
	d := p.decider(clock)
	d.Decide()
	again := p.s.DeepCopy()
	d.Decide()
	if diff := cmp.Diff(again.Status, p.s.Status); diff != "" {
		p.t.Errorf("at %s, asked again, it changes (-first +again):\n%s", clock, diff)
	}
	for _, a := range p.s.Status.Active {
		if a.NextAttemptTime == nil || !a.NextAttemptTime.After(d.Now) {
			p.flying[a.ID] = true
		}
	}
	return p.tell()
}

// end ends the attempt for a planned time.
func (p *play) end(clock, planned string, err error) string {
	p.t.Helper()
	for _, a := range p.s.Status.Active {
		if a.PlannedTime.UTC().Format(time.TimeOnly) == planned {
			delete(p.flying, a.ID)
			p.decider(clock).Take(a.ID, Outcome{At: moment(clock), Err: err, Final: errors.Is(err, errFinal)})
			return p.at(clock)
		}
	}
	p.t.Fatalf("nothing of %s is under way: %s", planned, p.tell())
	return ""
}

var (
	errBusy  = errors.New("busy")
	errFinal = errors.New("refused")
)

// tell is the status in a line: what is active, what waits, and the history from
// the oldest to the newest.
func (p *play) tell() string {
	var parts []string
	for _, a := range p.s.Status.Active {
		mark := ""
		if a.Cancelled != nil {
			mark = " for " + a.Cancelled.UTC().Format("15:04")
		}
		if a.Attempts > 0 {
			mark += fmt.Sprintf(" again %d", a.Attempts)
		}
		parts = append(parts, a.PlannedTime.UTC().Format("15:04")+mark+" active")
	}
	if b := p.s.Status.Buffered; b != nil {
		parts = append(parts, b.UTC().Format("15:04")+" waits")
	}
	for i := len(p.s.Status.LastActions) - 1; i >= 0; i-- {
		a := p.s.Status.LastActions[i]
		text := a.PlannedTime.UTC().Format("15:04") + " " + string(a.Result)
		if a.Count > 1 {
			text += fmt.Sprintf(" %d", a.Count)
		}
		if a.Request != "" {
			text += " " + a.Request
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (p *play) expect(got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("it stands\n%s, want\n%s", got, want)
	}
}

func overlap(policy v1alpha1.OverlapPolicy) func(*v1alpha1.Schedule) {
	return func(s *v1alpha1.Schedule) { s.Spec.Overlap = policy }
}

// The sink takes the event of 10:10 until 10:35.
func TestOverlap(t *testing.T) {
	cases := map[v1alpha1.OverlapPolicy]struct{ at20, at30, end string }{
		"":                             {"10:10 active", "10:10 active", "10:20 active; 10:10 Delivered"},
		v1alpha1.OverlapBufferAll:      {"10:10 active", "10:10 active", "10:20 active; 10:10 Delivered"},
		v1alpha1.OverlapSkip:           {"10:10 active; 10:20 Skipped", "10:10 active; 10:20 Skipped 2", "10:20 Skipped 2; 10:10 Delivered"},
		v1alpha1.OverlapBufferOne:      {"10:10 active; 10:20 waits", "10:10 active; 10:20 waits; 10:30 Skipped", "10:20 active; 10:30 Skipped; 10:10 Delivered"},
		v1alpha1.OverlapCancelOther:    {"10:10 for 10:20 active", "10:10 for 10:20 active; 10:20 Skipped", "10:30 active; 10:20 Skipped; 10:10 Cancelled"},
		v1alpha1.OverlapTerminateOther: {"10:10 for 10:20 active", "10:10 for 10:20 active; 10:20 Skipped", "10:30 active; 10:20 Skipped; 10:10 Cancelled"},
		v1alpha1.OverlapAllowAll:       {"10:10 active; 10:20 active", "10:10 active; 10:20 active; 10:30 active", "10:20 active; 10:30 active; 10:10 Delivered"},
	}
	for policy, c := range cases {
		t.Run(string(policy), func(t *testing.T) {
			p := newPlay(t, overlap(policy))
			p.expect(p.at("10:09:59"), "")
			p.expect(p.at("10:10:00"), "10:10 active")
			p.expect(p.at("10:20:00"), c.at20)
			p.expect(p.at("10:30:00"), c.at30)
			var cut error
			if strings.HasPrefix(string(policy), "Cancel") || strings.HasPrefix(string(policy), "Terminate") {
				cut = errBusy
			}
			p.expect(p.end("10:35:00", "10:10:00", cut), c.end)
		})
	}
}

func TestAllowAllHasABound(t *testing.T) {
	p := newPlay(t, func(s *v1alpha1.Schedule) {
		s.Spec.Cron, s.Spec.Overlap = []string{"* * * * *"}, v1alpha1.OverlapAllowAll
	})
	p.at("10:20:00")
	if n := len(p.s.Status.Active); n != MaxActive {
		t.Errorf("%d are under way, want %d", n, MaxActive)
	}
	p.end("10:20:30", "10:05:00", nil)
	if last := p.s.Status.Active[MaxActive-1].PlannedTime; !last.Equal(stamp("10:11:00")) {
		t.Errorf("then %v was begun, want 10:11", last)
	}
}

func TestNothingIsSilentlyLost(t *testing.T) {
	suspended := func(s *v1alpha1.Schedule) { s.Spec.Suspend = true }
	t.Run("after a long time away", func(t *testing.T) {
		p := newPlay(t, overlap(v1alpha1.OverlapSkip))
		p.at("10:05:00")
		p.expect(p.at("12:35:00"), "11:40 active; 10:10 Missed 9; 11:50 Skipped 5")
	})
	t.Run("waiting for longer than the window", func(t *testing.T) {
		p := newPlay(t, nil)
		p.at("10:10:00")
		p.expect(p.end("11:25:00", "10:10:00", nil), "10:30 active; 10:10 Delivered; 10:20 Missed")
	})
	t.Run("one that was put by for longer than the window", func(t *testing.T) {
		p := newPlay(t, overlap(v1alpha1.OverlapBufferOne))
		p.at("10:10:00")
		p.at("10:20:00")
		p.expect(p.at("11:25:00"), "10:10 active; 10:30 waits; 10:20 Missed; 10:40 Skipped 5")
	})
	t.Run("while suspended", func(t *testing.T) {
		p := newPlay(t, nil)
		p.at("10:10:00")
		p.end("10:10:01", "10:10:00", errBusy)
		suspended(p.s)
		p.expect(p.at("10:15:00"), "10:10 Cancelled")
		p.expect(p.at("10:45:00"), "10:10 Cancelled")
		p.s.Spec.Suspend = false
		p.expect(p.at("10:55:00"), "10:10 Cancelled; 10:20 Skipped 4")
		p.expect(p.at("11:00:00"), "11:00 active; 10:10 Cancelled; 10:20 Skipped 4")
	})
	t.Run("with another timetable", func(t *testing.T) {
		p := newPlay(t, overlap(v1alpha1.OverlapBufferOne))
		p.at("10:10:00")
		p.at("10:20:00")
		p.s.Spec.Cron = []string{"5 * * * *"}
		p.expect(p.at("10:25:00"), "10:10 active; 10:20 Skipped")
		p.expect(p.end("11:05:00", "10:10:00", nil), "11:05 active; 10:20 Skipped; 10:10 Delivered")
	})
	t.Run("tried until the window is over", func(t *testing.T) {
		p := newPlay(t, overlap(v1alpha1.OverlapSkip))
		p.at("10:10:00")
		p.expect(p.end("10:10:01", "10:10:00", errBusy), "10:10 again 1 active")
		for _, planned := range []string{"10:20:00", "10:30:00", "10:40:00", "10:50:00", "11:00:00"} {
			p.at(planned)
		}
		p.expect(p.end("11:10:01", "10:10:00", errBusy), "11:10 active; 10:20 Skipped 5; 10:10 Failed")
	})
	t.Run("a process died", func(t *testing.T) {
		p := newPlay(t, nil)
		p.at("10:10:00")
		p.flying = map[string]bool{}
		p.expect(p.at("10:10:30"), "10:10 active")
		p.flying = map[string]bool{}
		p.expect(p.at("11:10:30"), "10:20 active; 10:10 Failed")
	})
}

func TestClock(t *testing.T) {
	p := newPlay(t, nil)
	p.at("10:10:00")
	p.end("10:10:01", "10:10:00", nil)
	p.at("10:50:00")
	p.end("10:50:01", "10:20:00", nil)
	p.end("10:50:01", "10:30:00", nil)
	p.expect(p.at("10:05:00"), "10:40 active; 10:10 Delivered; 10:20 Delivered; 10:30 Delivered")
	p.end("10:05:01", "10:40:00", nil)
	p.expect(p.at("10:30:00"), "10:10 Delivered; 10:20 Delivered; 10:30 Delivered; 10:40 Delivered")

	p = newPlay(t, nil)
	p.s.Status.LastHandledTime, p.s.Status.Timetable = ptr.To(metav1.NewTime(moment("10:00:00").AddDate(10, 0, 0))), TimesOf(p.s).Fingerprint()
	p.expect(p.at("10:15:00"), "")
	p.expect(p.at("10:20:00"), "10:20 active")
}

func TestMaxActions(t *testing.T) {
	p := newPlay(t, func(s *v1alpha1.Schedule) { s.Spec.MaxActions = ptr.To(int64(2)) })
	p.at("10:10:00")
	p.end("10:10:01", "10:10:00", nil)
	p.at("10:20:00")
	p.expect(p.end("10:30:01", "10:20:00", nil), "10:10 Delivered; 10:20 Delivered")
	p.expect(p.at("11:20:00"), "10:10 Delivered; 10:20 Delivered")
	if _, ok := p.decider("11:20:00").Upcoming(); ok {
		t.Error("it still plans")
	}
	p.s.Spec.MaxActions = ptr.To(int64(3))
	p.expect(p.at("11:30:00"), "10:10 Delivered; 10:20 Delivered; 10:30 Skipped 7")
	p.expect(p.at("11:40:00"), "11:40 active; 10:10 Delivered; 10:20 Delivered; 10:30 Skipped 7")
}

func TestPauseAfterFailures(t *testing.T) {
	p := newPlay(t, func(s *v1alpha1.Schedule) { s.Spec.PauseAfterFailures = ptr.To(int32(2)) })
	for _, planned := range []string{"10:10", "10:20", "10:30"} {
		p.at(planned + ":00")
		err := errFinal
		if planned == "10:10" {
			err = nil
		}
		p.end(planned+":01", planned+":00", err)
	}
	p.expect(p.tell(), "10:10 Delivered; 10:20 Failed; 10:30 Failed")
	if !Paused(p.s) {
		t.Fatal("it is not paused")
	}
	p.expect(p.at("10:50:00"), "10:10 Delivered; 10:20 Failed; 10:30 Failed")
	p.s.Spec.ResumedFrom = p.s.Status.PausedSince.DeepCopy()
	p.expect(p.at("10:55:00"), "10:10 Delivered; 10:20 Failed; 10:30 Failed; 10:40 Skipped 2")
	p.at("11:00:00")
	p.end("11:00:01", "11:00:00", errFinal)
	if Paused(p.s) {
		t.Error("one failure pauses it again; it counts from the start")
	}
	p.at("11:10:00")
	p.end("11:10:01", "11:10:00", errFinal)
	if !Paused(p.s) {
		t.Error("two failures do not pause it again")
	}
}

func TestRequests(t *testing.T) {
	backfill := v1alpha1.ScheduleRequest{Name: "fix", From: stamp("08:00:00"), To: stamp("08:20:00")}
	now := v1alpha1.ScheduleRequest{Name: "now", At: stamp("10:03:00")}
	p := newPlay(t, func(s *v1alpha1.Schedule) {
		s.Spec.Suspend = true
		s.Spec.Requests = []v1alpha1.ScheduleRequest{backfill, now}
	})
	p.expect(p.at("10:02:00"), "08:00 active")
	if wake, _ := p.decider("10:02:00").Wake(); !wake.Equal(moment("10:03:00")) {
		t.Errorf("it looks again at %v", wake)
	}
	p.expect(p.at("10:03:00"), "08:00 active; 10:03 active")
	if id := p.s.Status.Active[1].ID; id != "u-20260101T100300Z-now" {
		t.Errorf("its id is %s", id)
	}
	p.expect(p.end("10:03:01", "10:03:00", nil), "08:00 active; 10:03 Delivered now")
	p.expect(p.end("10:03:02", "08:00:00", errFinal), "08:10 active; 10:03 Delivered now; 08:00 Failed fix")
	p.end("10:03:03", "08:10:00", nil)
	p.expect(p.end("10:03:04", "08:20:00", nil), "10:03 Delivered now; 08:00 Failed fix; 08:10 Delivered fix; 08:20 Delivered fix")
	want := []v1alpha1.RequestStatus{
		{Name: "fix", HandledTime: stamp("08:20:00"), Actions: 3, Failures: 1, Done: true, CompletionTime: stamp("10:03:04")},
		{Name: "now", HandledTime: stamp("10:03:00"), Actions: 1, Done: true, CompletionTime: stamp("10:03:01")},
	}
	if diff := cmp.Diff(want, p.s.Status.Requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	p.s.Spec.Requests = nil
	p.expect(p.at("10:04:00"), p.tell())
	if len(p.s.Status.Requests) > 0 {
		t.Error("what is no longer asked for is kept")
	}
}

func TestARequestIsTakenBack(t *testing.T) {
	p := newPlay(t, func(s *v1alpha1.Schedule) {
		s.Spec.Requests = []v1alpha1.ScheduleRequest{{Name: "fix", From: stamp("08:00:00"), To: stamp("09:00:00")}}
	})
	p.at("10:02:00")
	p.s.Spec.Requests = nil
	p.expect(p.at("10:02:10"), "08:00 active")
	p.expect(p.end("10:02:20", "08:00:00", errBusy), "08:00 Cancelled fix")
}

func TestRequestsThatAreRefused(t *testing.T) {
	cases := map[string]struct {
		from, to metav1.Time
		want     string
	}{
		"of the future": {*stamp("08:00:00"), *stamp("10:30:00"), "is not over yet"},
		"far too many":  {metav1.NewTime(moment("08:00:00").AddDate(-1, 0, 0)), *stamp("08:00:00"), "more than 10000 times"},
		"none":          {*stamp("08:01:00"), *stamp("08:02:00"), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t, func(s *v1alpha1.Schedule) {
				s.Spec.Requests = []v1alpha1.ScheduleRequest{{Name: "fix", From: &c.from, To: &c.to}}
			})
			p.expect(p.at("10:02:00"), "")
			r := p.s.Status.Requests[0]
			if !r.Done || !strings.Contains(r.Message, c.want) || (c.want == "") != (r.Message == "") {
				t.Errorf("request %+v, want %q", r, c.want)
			}
		})
	}
}

func TestHistoryLimit(t *testing.T) {
	p := newPlay(t, func(s *v1alpha1.Schedule) { s.Spec.HistoryLimit = ptr.To(int32(2)) })
	for _, planned := range []string{"10:10", "10:20", "10:30"} {
		p.at(planned + ":00")
		p.end(planned+":01", planned+":00", nil)
	}
	p.expect(p.tell(), "10:20 Delivered; 10:30 Delivered")
}
