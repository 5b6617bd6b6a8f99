package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// world is an API, a clock and a sink. Between looks everything that is sent has
// its answer, but for what is held.
type world struct {
	t   testing.TB
	api client.WithWatch
	key client.ObjectKey
	// process is what a crash ends.
	process *Reconciler
	// survives says that a crash is only an API server that did not answer.
	survives bool
	landings chan client.ObjectKey
	entered  chan struct{} // each time something is sent
	woken    chan string   // when which sink was

	mu   sync.Mutex
	now  time.Time
	sent []cloudevents.Event
	// answer is what the sink says; nil takes the event.
	answer func(cloudevents.Event) error
	// held are ids whose events have no answer until release is closed, or the
	// attempt is cancelled.
	held    map[string]bool
	release chan struct{}
	// sinkErr is what looking for the sink says.
	sinkErr  error
	resolved int
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
	scheme := k8sruntime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return inWorld(t, reconciletest.Fake(t, scheme, []client.Object{&v1alpha1.Schedule{}}, s), key, clock("10:00:31"))
}

func inWorld(t testing.TB, api client.WithWatch, key client.ObjectKey, now time.Time) *world {
	return &world{t: t, api: api, key: key, now: now, landings: make(chan client.ObjectKey, 100), entered: make(chan struct{}, 100_000), woken: make(chan string, 100), held: map[string]bool{}, release: make(chan struct{})}
}

func (w *world) Resolve(context.Context, string, v1alpha1.Destination) (string, error) {
	w.resolved++
	if w.sinkErr != nil {
		return "", w.sinkErr
	}
	return "http://sink", nil
}

func (w *world) Send(ctx context.Context, _ string, event cloudevents.Event) error {
	w.mu.Lock()
	w.sent = append(w.sent, event)
	answer, held := w.answer, w.held[event.ID()]
	w.mu.Unlock()
	w.entered <- struct{}{}
	if held {
		select {
		case <-w.release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if answer != nil {
		return answer(event)
	}
	return nil
}

func (w *world) Wake(_ context.Context, uri string) error {
	w.woken <- fmt.Sprint(w.time().Format(time.TimeOnly), " ", uri)
	return nil
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) set(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

// look lets the controller look once. After a crash the next look is another
// process's.
func (w *world) look(crash reconciletest.Crash) (result ctrl.Result, writes int, err error) {
	w.t.Helper()
	c, count := reconciletest.Mortal(w.api, crash)
	if w.process == nil {
		w.process = newReconciler(c, c, w, w, w, w.time, func(k client.ObjectKey, _ bool) { w.landings <- k })
	}
	r := w.process
	r.Client, r.read.cache, r.read.live = c, c, c
	result, err = r.Reconcile(context.Background(), ctrl.Request{NamespacedName: w.key})
	w.settle()
	if *count >= crash.At && crash.At > 0 && !w.survives {
		w.process = nil
	}
	return result, *count, err
}

// settle waits until everything that was sent has its answer, but for what is
// held, and who is being woken is awake.
func (w *world) settle() {
	for w.process != nil && len(w.process.warming.room) > 0 {
		runtime.Gosched()
	}
	for w.open(func(f flight) bool { return f.outcome == nil && !w.wasSent(f.action.ID) }) {
		<-w.entered
	}
	for w.open(func(f flight) bool { return f.outcome == nil && (!w.held[f.action.ID] || f.cancelled || w.released()) }) {
		<-w.landings
	}
}

func (w *world) wasSent(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.sent, func(e cloudevents.Event) bool { return e.ID() == id })
}

func (w *world) released() bool {
	select {
	case <-w.release:
		return true
	default:
		return false
	}
}

// open reports whether there is a flight of that kind.
func (w *world) open(is func(flight) bool) bool {
	var s v1alpha1.Schedule
	if w.process == nil || w.api.Get(context.Background(), w.key, &s) != nil {
		return false
	}
	return slices.ContainsFunc(w.process.flights.of(w.key, s.UID), is)
}

// news reports whether an answer is there that was not looked at.
func (w *world) news() bool { return w.open(func(f flight) bool { return f.outcome != nil }) }

// until lets the controller look whenever it wants to, up to a time.
func (w *world) until(text string) {
	w.t.Helper()
	end := clock(text)
	for range 10_000 {
		result, _, err := w.look(reconciletest.Crash{})
		if err != nil {
			w.t.Fatal(err)
		}
		if w.news() {
			continue
		}
		if result.RequeueAfter == 0 || w.now.Add(result.RequeueAfter).After(end) {
			w.set(end)
			return
		}
		w.set(w.now.Add(result.RequeueAfter))
	}
	w.t.Fatal("it looks again and again")
}

func (w *world) schedule() *v1alpha1.Schedule {
	w.t.Helper()
	var s v1alpha1.Schedule
	if err := w.api.Get(context.Background(), w.key, &s); err != nil {
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
	if got := s.Status.NextTime.UTC(); !got.Equal(clock("10:30:00")) || w.ready() != "True Ready" || len(s.Status.Active) > 0 {
		t.Errorf("next %v, Ready %s, pending %v", got, w.ready(), s.Status.Active)
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
				s.Spec.Event = v1alpha1.EventTemplate{Type: "t", Source: "/s", Subject: "j", Data: &k8sruntime.RawExtension{Raw: []byte(data)}}
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
			w.set(clock(c.away))
			w.until(c.away[:5] + ":59")
			t.Log(c.reason)
			w.expect(c.ids, c.history...)
		})
	}
}

func TestTheSinkIsAwayForAWhile(t *testing.T) {
	w := newWorld(t)
	w.answer = func(cloudevents.Event) error {
		if w.time().Before(clock("10:25:00")) {
			return errors.New("connection refused")
		}
		return nil
	}
	w.until("10:12:00")
	if a := w.schedule().Status.Active; w.ready() != "Unknown Delivering" || len(a) != 1 || a[0].Message != "connection refused" {
		t.Errorf("Ready %s, active %+v", w.ready(), a)
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
	if len(w.schedule().Status.Active) > 0 {
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

// However long a function takes to build, its schedule is ready just after it.
func TestASinkThatGetsReadyShowsSoon(t *testing.T) {
	w := newWorld(t, cron("0 0 1 1 *"))
	w.sinkErr = unresolved(v1alpha1.ReasonSinkNotReady, "no address yet")
	w.until("10:25:00")
	w.sinkErr = nil
	w.until("10:25:02")
	if w.ready() != "True Ready" {
		t.Errorf("two seconds later Ready is %s", w.ready())
	}
	if looks := w.resolved; looks > 15*60 {
		t.Errorf("it was looked up %d times", looks)
	}
	w.sinkErr = unresolved(v1alpha1.ReasonSinkNotFound, "not there")
	before := w.resolved
	w.change(func(s *v1alpha1.Schedule) { s.Spec.Sink.URI = "http://other" })
	w.until("10:45:00")
	if looks := w.resolved - before; looks > 40 {
		t.Errorf("what is not there was looked up %d times in 20 minutes", looks)
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
	w.expect("1010 1040", "10:40 Delivered 1 0", "10:20 Skipped 0 2", "10:10 Delivered 1 0")
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
	w.set(clock("10:12:00"))
	w.change(func(s *v1alpha1.Schedule) { s.Spec.Event.Subject = "new" })
	w.until("10:13:00")
	w.expect("1010", "10:10 Delivered 1 0")
}

func TestTheClockGoesBack(t *testing.T) {
	w := newWorld(t)
	w.until("10:25:00")
	w.set(clock("10:05:00"))
	w.until("10:35:00")
	w.expect("1010 1020 1030", "10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Delivered 1 0")
}

func TestInvalidShowsAndRests(t *testing.T) {
	for name, o := range map[string]option{
		"cron":   cron("61 * * * *"),
		"panic":  cron("TZ=UTC"),
		"zone":   func(s *v1alpha1.Schedule) { s.Spec.TimeZone = "Mars/Olympus" },
		"window": func(s *v1alpha1.Schedule) { s.Spec.CatchUpWindow = &metav1.Duration{} },
		"jitter": func(s *v1alpha1.Schedule) { s.Spec.Jitter = &metav1.Duration{Duration: time.Hour} },
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
				w.set(clock("10:32:00"))
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
				// What was under way comes twice, and what the look began that died.
				if len(ids) != 3 || len(w.sent) > 5 {
					t.Errorf("look %d, write %d, done %v: sent %v", look, at, done, ids)
				}
			}
		}
	}
	if crashes < 8 {
		t.Errorf("only %d places to die were tried", crashes)
	}
}

// A cache that lags behind shows a status from before what was sent.
func TestALaggingCacheSendsNothingTwice(t *testing.T) {
	w := newWorld(t)
	w.until("10:09:00")
	stale := w.schedule()
	w.until("10:11:00")
	w.expect("1010", "10:10 Delivered 1 0")
	behind := &staleClient{Client: w.api, stale: stale}
	w.process.read.cache = behind
	if _, err := w.process.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	another := newReconciler(behind, w.api, w, w, w, w.time, func(client.ObjectKey, bool) {})
	if _, err := another.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
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

// What is settled at once is written once: that is what lets thousands be due in
// the same second.
func TestOneWriteForATick(t *testing.T) {
	w := newWorld(t)
	w.until("10:09:59")
	w.set(clock("10:10:00"))
	if _, writes, _ := w.look(reconciletest.Crash{}); writes != 0 || w.ids() != "1010" {
		t.Errorf("to send takes %d writes; sent %q", writes, w.ids())
	}
	if _, writes, _ := w.look(reconciletest.Crash{}); writes != 1 {
		t.Errorf("to settle takes %d writes", writes)
	}
	resolved := w.resolved
	w.until("10:19:00")
	if n := w.resolved - resolved; n > 1 {
		t.Errorf("the sink was looked up %d times while nothing was due", n)
	}
	w.expect("1010", "10:10 Delivered 1 0")
}

// An answer that takes its time: the action shows, and what comes after it does
// as the policy says.
func TestASlowSink(t *testing.T) {
	cases := map[v1alpha1.OverlapPolicy]struct {
		ids     string
		history []string
	}{
		v1alpha1.OverlapBufferAll:   {"1010 1020 1030", []string{"10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Delivered 1 0"}},
		v1alpha1.OverlapSkip:        {"1010", []string{"10:10 Delivered 1 0", "10:20 Skipped 0 2"}},
		v1alpha1.OverlapCancelOther: {"1010 1020 1030", []string{"10:30 Delivered 1 0", "10:20 Delivered 1 0", "10:10 Cancelled 1 0"}},
		v1alpha1.OverlapAllowAll:    {"1010 1020 1030", []string{"10:10 Delivered 1 0", "10:30 Delivered 1 0", "10:20 Delivered 1 0"}},
	}
	for policy, c := range cases {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t, func(s *v1alpha1.Schedule) { s.Spec.Overlap = policy })
			w.held["u-20260101T101000Z"] = true
			w.until("10:15:00")
			if a := w.schedule().Status.Active; len(a) != 1 || !a[0].PlannedTime.Equal(&metav1.Time{Time: clock("10:10:00")}) {
				t.Errorf("under way: %+v", a)
			}
			w.until("10:31:00")
			close(w.release)
			w.settle()
			w.until("10:35:00")
			w.expect(c.ids, c.history...)
		})
	}
}

// An answer is written down late when many came at once. By then the time of the
// next attempt can be over: it follows at once, and not with the next planned time.
func TestAnAttemptFollowsAnAnswerThatWasReadLate(t *testing.T) {
	w := newWorld(t, cron("0 0 1 1 *", "10 10 1 1 *"))
	refuse := true
	w.answer = func(cloudevents.Event) error {
		if refuse {
			return errors.New("busy")
		}
		return nil
	}
	w.set(clock("10:10:00"))
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	refuse = false
	w.set(clock("10:10:05"))
	w.until("10:10:06")
	w.expect("1010 1010", "10:10 Delivered 2 0")
}

// The sink is woken once for each planned time, that long before it.
func TestPrewarm(t *testing.T) {
	function := v1alpha1.Destination{Ref: &v1alpha1.Reference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindFunction, Name: "report"}}
	w := newWorld(t, func(s *v1alpha1.Schedule) {
		s.Spec.Sink, s.Spec.Prewarm = function, &metav1.Duration{Duration: 20 * time.Second}
	})
	w.until("10:29:00")
	for _, want := range []string{"10:09:40 http://sink", "10:19:40 http://sink"} {
		if got := <-w.woken; got != want {
			t.Errorf("woken %s, want %s", got, want)
		}
	}
	if len(w.woken) > 0 {
		t.Errorf("woken again: %s", <-w.woken)
	}
	w.expect("1010 1020", "10:20 Delivered 1 0", "10:10 Delivered 1 0")
}

func TestASinkThatIsSilent(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.Schedule) { s.Spec.Timeout = &metav1.Duration{Duration: time.Second} })
	w.held["u-20260101T101000Z"] = true
	w.set(clock("10:10:00"))
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	<-w.landings
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	if a := w.schedule().Status.Active; len(a) != 1 || !strings.Contains(a[0].Message, "spec.timeout") {
		t.Errorf("under way: %+v", a)
	}
}

func TestADeletedScheduleSendsNoMore(t *testing.T) {
	w := newWorld(t)
	w.held["u-20260101T101000Z"] = true
	w.until("10:12:00")
	if err := w.api.Delete(t.Context(), w.schedule()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.look(reconciletest.Crash{}); err != nil {
		t.Fatal(err)
	}
	<-w.landings
	if w.process.flights.of(key, "u") != nil {
		t.Error("its attempts are kept")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	w := newWorld(t, cron("* * * * *"))
	w.answer = func(cloudevents.Event) error { return permanent(errors.New(strings.Repeat("é", 5000))) }
	w.until("10:40:00")
	a := w.schedule().Status.LastActions
	if len(a) != v1alpha1.DefaultHistoryLimit || len(a[0].Message) > 520 || len(w.sent) != 40 {
		t.Errorf("%d entries, a message of %d bytes, %d events", len(a), len(a[0].Message), len(w.sent))
	}
}
