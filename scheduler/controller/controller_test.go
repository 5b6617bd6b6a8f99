package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// world is an API, a clock and a sink.
type world struct {
	t    testing.TB
	api  client.WithWatch
	now  time.Time
	sent []cloudevents.Event
	// answer is what the sink says; nil takes the event.
	answer func(cloudevents.Event) error
	// sinkErr is what looking for the sink says.
	sinkErr error
}

var key = client.ObjectKey{Namespace: "shop", Name: "tick"}

func clock(text string) time.Time {
	v, err := time.Parse(time.DateTime, "2026-01-01 "+text)
	if err != nil {
		panic(err)
	}
	return v
}

type option func(*v1alpha1.Schedule)

func cron(lines ...string) option { return func(s *v1alpha1.Schedule) { s.Spec.Cron = lines } }

func suspend(yes bool) option { return func(s *v1alpha1.Schedule) { s.Spec.Suspend = yes } }

// newWorld has a Schedule for every ten minutes that was created at 10:00:30.
func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	s := &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "u", Generation: 1, CreationTimestamp: metav1.NewTime(clock("10:00:30"))},
		Spec:       v1alpha1.ScheduleSpec{Cron: []string{"*/10 * * * *"}, Sink: v1alpha1.Destination{URI: "http://sink"}},
	}
	for _, o := range options {
		o(s)
	}
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, now: clock("10:00:31"), api: reconciletest.Fake(t, scheme, []client.Object{&v1alpha1.Schedule{}}, s)}
}

func (w *world) Resolve(context.Context, string, v1alpha1.Destination) (string, error) {
	if w.sinkErr != nil {
		return "", w.sinkErr
	}
	return "http://sink", nil
}

func (w *world) Send(_ context.Context, _ string, event cloudevents.Event) error {
	w.sent = append(w.sent, event)
	if w.answer != nil {
		return w.answer(event)
	}
	return nil
}

func (w *world) look(crash reconciletest.Crash) (result ctrl.Result, writes int, err error) {
	c, count := reconciletest.Mortal(w.api, crash)
	r := &Reconciler{Client: c, Live: c, Sinks: w, Sender: w, Now: func() time.Time { return w.now }}
	result, err = r.Reconcile(context.Background(), ctrl.Request{NamespacedName: key})
	return result, *count, err
}

// until lets the controller look whenever it wants to, up to a time.
func (w *world) until(text string) {
	w.t.Helper()
	end := clock(text)
	for range 10_000 {
		result, _, err := w.look(reconciletest.Crash{})
		if err != nil {
			w.t.Fatal(err)
		}
		if result.RequeueAfter == 0 || w.now.Add(result.RequeueAfter).After(end) {
			w.now = end
			return
		}
		w.now = w.now.Add(result.RequeueAfter)
	}
	w.t.Fatal("it looks again and again")
}

func (w *world) schedule() *v1alpha1.Schedule {
	w.t.Helper()
	var s v1alpha1.Schedule
	if err := w.api.Get(context.Background(), key, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

func (w *world) change(o option) {
	w.t.Helper()
	s := w.schedule()
	o(s)
	s.Generation++
	if err := w.api.Update(context.Background(), s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ids() string {
	var ids []string
	for _, e := range w.sent {
		ids = append(ids, strings.TrimSuffix(strings.TrimPrefix(e.ID(), "u-20260101T"), "00Z"))
	}
	return strings.Join(ids, " ")
}

func (w *world) history() []string {
	var lines []string
	for _, a := range w.schedule().Status.LastActions {
		lines = append(lines, fmt.Sprintf("%s %s %d %d", a.PlannedTime.UTC().Format("15:04"), a.Result, a.Attempts, a.Count))
	}
	return lines
}

func (w *world) ready() string {
	c := meta.FindStatusCondition(w.schedule().Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return "none"
	}
	return string(c.Status) + " " + c.Reason
}

func (w *world) expect(ids string, history ...string) {
	w.t.Helper()
	if got := w.ids(); got != ids {
		w.t.Errorf("sent %q, want %q", got, ids)
	}
	if diff := cmp.Diff(history, w.history()); diff != "" {
		w.t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestTicks(t *testing.T) {
	w := newWorld(t)
	w.until("10:25:00")
	w.expect("1010 1020", "10:20 Delivered 1 0", "10:10 Delivered 1 0")
	s := w.schedule()
	if got := s.Status.NextTime.UTC(); !got.Equal(clock("10:30:00")) || w.ready() != "True Ready" || s.Status.Pending != nil {
		t.Errorf("next %v, Ready %s, pending %v", got, w.ready(), s.Status.Pending)
	}
	e := w.sent[0]
	got := []any{e.ID(), e.Type(), e.Source(), e.Time(), e.SpecVersion()}
	want := []any{"u-20260101T101000Z", "dev.knit.schedule.tick", "/apis/knit.dev/v1alpha1/namespaces/shop/schedules/tick", clock("10:10:00"), "1.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestTheEventIsTheTemplate(t *testing.T) {
	for name, data := range map[string]string{"object": `{"a":[1,null]}`, "string": `"x"`, "number": `7`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *v1alpha1.Schedule) {
				s.Spec.Event = v1alpha1.EventTemplate{Type: "t", Source: "/s", Subject: "j", Data: &runtime.RawExtension{Raw: []byte(data)}}
			})
			w.until("10:15:00")
			e := w.sent[0]
			got := []string{e.Type(), e.Source(), e.Subject(), e.DataContentType(), string(e.Data())}
			if diff := cmp.Diff([]string{"t", "/s", "j", "application/json", data}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAwayFor(t *testing.T) {
	cases := map[string]struct {
		away    string
		ids     string
		history []string
		reason  string
	}{
		"a moment": {"10:30:20", "1010 1020 1030", []string{"10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Delivered 1 0"}, "caught up within the window, oldest first"},
		"half a day": {"22:05:00", "2110 2120 2130 2140 2150 2200", []string{
			"22:00 Delivered 1 0", "21:50 Delivered 1 0", "21:40 Delivered 1 0", "21:30 Delivered 1 0", "21:20 Delivered 1 0", "21:10 Delivered 1 0", "10:10 Missed 0 66",
		}, "what is older is recorded"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.until("10:01:00")
			w.now = clock(c.away)
			w.until(c.away[:5] + ":59")
			t.Log(c.reason)
			w.expect(c.ids, c.history...)
		})
	}
}

func TestTheSinkIsAwayForAWhile(t *testing.T) {
	w := newWorld(t)
	w.answer = func(cloudevents.Event) error {
		if w.now.Before(clock("10:25:00")) {
			return errors.New("connection refused")
		}
		return nil
	}
	w.until("10:12:00")
	if p := w.schedule().Status.Pending; w.ready() != "Unknown Delivering" || p == nil || p.Message != "connection refused" {
		t.Errorf("Ready %s, pending %+v", w.ready(), p)
	}
	w.until("10:35:00")
	var results []string
	for _, line := range w.history() {
		results = append(results, strings.Fields(line)[0]+" "+strings.Fields(line)[1])
	}
	if diff := cmp.Diff([]string{"10:30 Delivered", "10:20 Delivered", "10:10 Delivered"}, results); diff != "" {
		t.Error(diff)
	}
	ids := map[string]bool{}
	for _, e := range w.sent {
		ids[e.ID()] = true
	}
	if len(ids) != 3 || w.ready() != "True Ready" {
		t.Errorf("%d different events, Ready %s", len(ids), w.ready())
	}
}

func TestTheWindowEnds(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.Schedule) { s.Spec.CatchUpWindow = &metav1.Duration{Duration: time.Minute} })
	w.answer = func(cloudevents.Event) error { return errors.New("connection refused") }
	w.until("10:15:00")
	a := w.schedule().Status.LastActions
	if len(a) != 1 || a[0].Result != v1alpha1.ActionFailed || a[0].Attempts < 3 || !strings.Contains(a[0].Message, "connection refused") {
		t.Errorf("history %+v", a)
	}
	if w.schedule().Status.Pending != nil {
		t.Error("it is tried for ever")
	}
}

func TestARefusedEventIsNotSentAgain(t *testing.T) {
	w := newWorld(t)
	w.answer = func(cloudevents.Event) error { return permanent(errors.New("400 Bad Request")) }
	w.until("10:15:00")
	w.expect("1010", "10:10 Failed 1 0")
}

func TestASinkThatIsNotThereShowsAndHeals(t *testing.T) {
	w := newWorld(t)
	w.sinkErr = unresolved(v1alpha1.ReasonSinkNotFound, "no such Function")
	w.until("10:05:00")
	if w.ready() != "False SinkNotFound" {
		t.Errorf("before anything is due Ready is %s", w.ready())
	}
	w.until("10:12:00")
	w.sinkErr = nil
	w.until("10:15:00")
	if got := w.ids(); got != "1010" || w.ready() != "True Ready" {
		t.Errorf("sent %q, Ready %s", got, w.ready())
	}
}

func TestSuspendSkipsAndResumeDoesNotMakeUp(t *testing.T) {
	w := newWorld(t)
	w.until("10:15:00")
	w.change(suspend(true))
	w.until("10:35:00")
	if s := w.schedule(); w.ready() != "True Suspended" || s.Status.NextTime != nil {
		t.Errorf("Ready %s, next %v", w.ready(), s.Status.NextTime)
	}
	w.change(suspend(false))
	w.until("10:45:00")
	w.expect("1010 1040", "10:40 Delivered 1 0", "10:10 Delivered 1 0")
}

func TestSuspendGivesUpWhatIsPending(t *testing.T) {
	w := newWorld(t)
	w.answer = func(cloudevents.Event) error { return errors.New("busy") }
	w.until("10:10:10")
	sent := len(w.sent)
	w.change(suspend(true))
	w.until("10:30:00")
	if a := w.schedule().Status.LastActions; len(w.sent) != sent || len(a) != 1 || !strings.Contains(a[0].Message, "suspended") {
		t.Errorf("%d more attempts, history %+v", len(w.sent)-sent, a)
	}
}

func TestANewTimetablePlansNothingInThePast(t *testing.T) {
	w := newWorld(t, cron("0 0 * * *"))
	w.until("10:55:20")
	w.change(cron("*/5 * * * *"))
	w.until("11:07:00")
	w.expect("1100 1105", "11:05 Delivered 1 0", "11:00 Delivered 1 0")
}

func TestOtherDataIsNoNewTimetable(t *testing.T) {
	w := newWorld(t)
	w.until("10:09:00")
	w.now = clock("10:12:00")
	w.change(func(s *v1alpha1.Schedule) { s.Spec.Event.Subject = "new" })
	w.until("10:13:00")
	w.expect("1010", "10:10 Delivered 1 0")
}

func TestTheClockGoesBack(t *testing.T) {
	w := newWorld(t)
	w.until("10:25:00")
	w.now = clock("10:05:00")
	w.until("10:35:00")
	w.expect("1010 1020 1030", "10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Delivered 1 0")
}

func TestInvalidShowsAndRests(t *testing.T) {
	for name, o := range map[string]option{
		"cron":   cron("61 * * * *"),
		"panic":  cron("TZ=UTC"),
		"zone":   func(s *v1alpha1.Schedule) { s.Spec.TimeZone = "Mars/Olympus" },
		"window": func(s *v1alpha1.Schedule) { s.Spec.CatchUpWindow = &metav1.Duration{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			result, _, err := w.look(reconciletest.Crash{})
			if err != nil || result.RequeueAfter != 0 || w.ready() != "False Invalid" {
				t.Errorf("result %v, error %v, Ready %s", result, err, w.ready())
			}
		})
	}
	w := newWorld(t, cron("0 0 30 2 *"))
	w.until("10:05:00")
	if w.ready() != "False NeverDue" {
		t.Errorf("Ready %s", w.ready())
	}
}

// The process may die at any write, done or not done. After it every planned
// time is settled once, with one id, and sent at least once.
func TestTheProcessMayDieAtAnyWrite(t *testing.T) {
	crashes := 0
	for look := range 8 {
		for at := 1; at <= 4; at++ {
			for _, done := range []bool{false, true} {
				w := newWorld(t)
				w.until("10:09:00")
				w.now = clock("10:32:00")
				for range look {
					if _, _, err := w.look(reconciletest.Crash{}); err != nil {
						t.Fatal(err)
					}
				}
				if _, writes, _ := w.look(reconciletest.Crash{At: at, Done: done}); writes < at {
					continue
				}
				crashes++
				w.until("10:35:00")
				want := []string{"10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Delivered 1 0"}
				if diff := cmp.Diff(want, w.history()); diff != "" {
					t.Errorf("look %d, write %d, done %v (-want +got):\n%s", look, at, done, diff)
				}
				ids := map[string]int{}
				for _, e := range w.sent {
					ids[e.ID()]++
				}
				if len(ids) != 3 || len(w.sent) > 4 {
					t.Errorf("look %d, write %d, done %v: sent %v", look, at, done, ids)
				}
			}
		}
	}
	if crashes < 8 {
		t.Errorf("only %d places to die were tried", crashes)
	}
}

// A second leader that still believes to be one has read the status before the
// first one's intent: it must not send.
func TestTwoLeaders(t *testing.T) {
	w := newWorld(t)
	w.until("10:09:00")
	w.now = clock("10:10:01")
	stale := w.schedule()
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	old := &staleClient{Client: w.api, stale: stale}
	r := &Reconciler{Client: old, Live: old, Sinks: w, Sender: w, Now: func() time.Time { return w.now }}
	if result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil || result.RequeueAfter == 0 {
		t.Errorf("result %v, error %v", result, err)
	}
	w.expect("1010", "10:10 Delivered 1 0")
}

// A cache that lags behind shows an intent that was carried out meanwhile.
func TestALaggingCacheSendsNothingTwice(t *testing.T) {
	w := newWorld(t)
	w.until("10:09:00")
	w.now = clock("10:10:01")
	if _, _, err := w.look(reconciletest.Crash{At: 1, Done: true}); err == nil {
		t.Fatal("the process lives on")
	}
	stale := w.schedule()
	if stale.Status.Pending == nil {
		t.Fatal("the intent was not stored")
	}
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{Client: &staleClient{Client: w.api, stale: stale}, Live: w.api, Sinks: w, Sender: w, Now: func() time.Time { return w.now }}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	w.expect("1010", "10:10 Delivered 1 0")
}

type staleClient struct {
	client.Client
	stale *v1alpha1.Schedule
}

func (s *staleClient) Get(_ context.Context, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	s.stale.DeepCopyInto(obj.(*v1alpha1.Schedule))
	return nil
}

func TestHistoryIsBounded(t *testing.T) {
	w := newWorld(t, cron("* * * * *"))
	w.answer = func(cloudevents.Event) error { return permanent(errors.New(strings.Repeat("é", 5000))) }
	w.until("10:40:00")
	a := w.schedule().Status.LastActions
	if len(a) != maxHistory || len(a[0].Message) > maxMessage+8 || len(w.sent) != 40 {
		t.Errorf("%d entries, a message of %d bytes, %d events", len(a), len(a[0].Message), len(w.sent))
	}
}
