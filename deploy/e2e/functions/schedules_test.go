//go:build e2e

package functions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// schedule makes a Schedule that sends events of its own name to a function of
// the stage.
func (s *stage) schedule(name, function string, spec v1alpha1.ScheduleSpec) {
	s.t.Helper()
	spec.Event.Type = name
	spec.Sink = v1alpha1.Destination{Ref: &v1alpha1.Reference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindFunction, Name: function}}
	s.create(&v1alpha1.Schedule{ObjectMeta: s.named(name), Spec: spec})
}

func (s *stage) readSchedule(name string) *v1alpha1.Schedule {
	s.t.Helper()
	var schedule v1alpha1.Schedule
	if err := s.api.Get(s.t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &schedule); err != nil {
		s.t.Fatal(err)
	}
	return &schedule
}

// state waits until a Schedule is Ready, or not, for a reason.
func (s *stage) state(name, reason string) (schedule *v1alpha1.Schedule) {
	s.t.Helper()
	s.within(2*time.Minute, name+" is "+reason, func() (bool, string) {
		schedule = s.readSchedule(name)
		for _, c := range schedule.Status.Conditions {
			if c.Reason == reason && c.ObservedGeneration == schedule.Generation {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", schedule.Status)
	})
	return schedule
}

// results are how many planned times had which result.
func results(s *v1alpha1.Schedule) map[v1alpha1.ActionResult]int {
	n := map[v1alpha1.ActionResult]int{}
	for _, a := range s.Status.LastActions {
		n[a.Result] += int(max(a.Count, 1))
	}
	return n
}

// TestEveryOverlapPolicyOnACluster: the function takes five seconds, the schedules
// come every two.
func TestEveryOverlapPolicyOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.create(s.receiver("slow", "", "WAIT=5s"))
	s.ready("slow")
	policies := []v1alpha1.OverlapPolicy{
		v1alpha1.OverlapSkip, v1alpha1.OverlapBufferOne, v1alpha1.OverlapBufferAll,
		v1alpha1.OverlapCancelOther, v1alpha1.OverlapTerminateOther, v1alpha1.OverlapAllowAll,
	}
	for _, policy := range policies {
		s.schedule(strings.ToLower(string(policy)), "slow", v1alpha1.ScheduleSpec{
			Cron: []string{"@every 2s"}, Overlap: policy, MaxActions: ptr.To(int64(3)), HistoryLimit: ptr.To(int32(100)),
		})
	}
	cancels := func(p v1alpha1.OverlapPolicy) bool {
		return p == v1alpha1.OverlapCancelOther || p == v1alpha1.OverlapTerminateOther
	}
	for _, policy := range policies {
		name := strings.ToLower(string(policy))
		schedule := s.state(name, v1alpha1.ReasonOver)
		got := results(schedule)
		want := map[bool]int{true: 1, false: 3}[cancels(policy)]
		if got[v1alpha1.ActionDelivered] != want || cancels(policy) && got[v1alpha1.ActionCancelled] != 2 {
			t.Errorf("%s: %v, want %d delivered, and the others cancelled", policy, got, want)
		}
		if skips := policy == v1alpha1.OverlapSkip || policy == v1alpha1.OverlapBufferOne; skips != (got[v1alpha1.ActionSkipped] > 0) {
			t.Errorf("%s: %v, want some skipped: %v", policy, got, skips)
		}
		var at []time.Time
		for _, a := range schedule.Status.LastActions {
			if a.Result == v1alpha1.ActionDelivered {
				at = append(at, a.ActualTime.Time)
			}
		}
		if policy == v1alpha1.OverlapAllowAll {
			if apart := at[0].Sub(at[len(at)-1]); apart > 8*time.Second {
				t.Errorf("%s: %v from the first to the third, want them beside each other", policy, apart)
			}
		} else if len(at) == 3 && at[0].Sub(at[2]) < 9*time.Second {
			t.Errorf("%s: delivered at %v, want one after another", policy, at)
		}
	}
	// Every event came once, also those whose answer nobody waited for.
	for id, n := range s.counts("slow") {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// TestBesideTheTimetableOnACluster: now, and for times that are over, of a
// Schedule that is suspended.
func TestBesideTheTimetableOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.create(s.receiver("report", ""))
	s.ready("report")
	if code, out, errs := s.knit("schedule", "create", "nightly", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--sink", "function/report", "--suspend", "--data", `{"a":1}`); code != 0 {
		t.Fatalf("create: exit code %d, %s %s", code, out, errs)
	}
	s.state("nightly", v1alpha1.ReasonSuspended)
	if code, out, errs := s.knit("schedule", "run-now", "nightly", "--wait"); code != 0 {
		t.Fatalf("run-now: exit code %d, %s %s", code, out, errs)
	}
	if code, out, errs := s.knit("schedule", "backfill", "nightly", "--from", "2026-03-27T00:00:00Z", "--to", "2026-03-31T00:00:00Z", "--wait"); code != 0 {
		t.Fatalf("backfill: exit code %d, %s %s", code, out, errs)
	}
	uid := string(s.readSchedule("nightly").UID)
	var ids []string
	for _, e := range s.received("report") {
		if e.Data != `{"a":1}` {
			t.Errorf("event %+v, want the data of the schedule", e)
		}
		ids = append(ids, strings.TrimPrefix(e.ID, uid+"-"))
	}
	// One now; then one of each night, the 29th an hour later on the clock in UTC,
	// where Berlin's went forward.
	if len(ids) != 5 {
		t.Fatalf("events %v, want five", ids)
	}
	for i, night := range []string{"20260327T013000Z", "20260328T013000Z", "20260329T010000Z", "20260330T003000Z"} {
		if !strings.HasPrefix(ids[i+1], night+"-") {
			t.Errorf("event %d is %s, want that of %s and its request", i+1, ids[i+1], night)
		}
	}
	if code, out, _ := s.knit("schedule", "history", "nightly"); code != 0 || strings.Count(out, "Delivered") != 5 {
		t.Errorf("history: exit code %d\n%s", code, out)
	}
	if code, _, errs := s.knit("schedule", "delete", "nightly"); code != 0 {
		t.Errorf("delete: %s", errs)
	}
}

// TestAPauseAfterFailuresOnACluster: a function that refuses pauses its schedule;
// somebody looks, mends and resumes.
func TestAPauseAfterFailuresOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.create(s.receiver("sick", "", "STATUS=400"))
	s.ready("sick")
	s.schedule("tick", "sick", v1alpha1.ScheduleSpec{Cron: []string{"@every 1s"}, PauseAfterFailures: ptr.To(int32(3))})
	paused := s.state("tick", v1alpha1.ReasonPaused)
	if got := results(paused); got[v1alpha1.ActionFailed] != 3 || got[v1alpha1.ActionDelivered] > 0 {
		t.Errorf("it pauses with %v, want three failures", got)
	}
	s.heal("sick")
	if code, out, errs := s.knit("schedule", "resume", "tick"); code != 0 {
		t.Fatalf("resume: exit code %d, %s %s", code, out, errs)
	}
	s.within(time.Minute, "it goes on", func() (bool, string) {
		got := results(s.readSchedule("tick"))
		return got[v1alpha1.ActionDelivered] > 0 && got[v1alpha1.ActionSkipped] > 0, fmt.Sprint(got)
	})
	if code, _, errs := s.knit("schedule", "pause", "tick"); code != 0 {
		t.Fatalf("pause: %s", errs)
	}
	s.state("tick", v1alpha1.ReasonSuspended)
}

// TestPrewarmOnACluster: a function at zero has a pod before the event comes.
func TestPrewarmOnACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	fn := s.function("cold")
	fn.Spec.Scale.IdleAfter = &metav1.Duration{Duration: 30 * time.Second}
	s.create(fn)
	s.ready("cold")
	pods := func() []corev1.Pod {
		var list corev1.PodList
		if err := s.api.List(t.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{v1alpha1.LabelFunction: "cold"}); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	s.within(3*time.Minute, "the function is at zero", func() (bool, string) { return len(pods()) == 0, fmt.Sprint(len(pods())) })
	at := metav1.NewTime(time.Now().Add(25 * time.Second).Truncate(time.Second))
	s.schedule("once", "cold", v1alpha1.ScheduleSpec{At: []metav1.Time{at}, Prewarm: &metav1.Duration{Duration: 15 * time.Second}})
	schedule := s.state("once", v1alpha1.ReasonOver)
	if a := schedule.Status.LastActions; len(a) != 1 || a[0].Result != v1alpha1.ActionDelivered || a[0].Attempts != 1 {
		t.Errorf("actions %+v, want one that was taken at once", a)
	}
	running := pods()
	if len(running) == 0 {
		t.Fatal("the function has no pod")
	}
	if made := running[0].CreationTimestamp; !made.Before(&at) {
		t.Errorf("its pod was made at %v, the event was planned for %v", made, at)
	}
}

// TestAScheduleLosesNothingOnACluster kills the control plane while a schedule of
// every second is at work: every planned time comes, none under two ids.
func TestAScheduleLosesNothingOnACluster(t *testing.T) {
	s := newStage(t)
	s.create(s.receiver("count", ""))
	s.ready("count")
	s.schedule("tick", "count", v1alpha1.ScheduleSpec{Cron: []string{"@every 1s"}, HistoryLimit: ptr.To(int32(100))})
	delivered := func(more int) {
		t.Helper()
		before := s.readSchedule("tick").Status.Actions
		s.within(2*time.Minute, "it sends", func() (bool, string) {
			now := s.readSchedule("tick").Status
			return now.Actions >= before+int64(more), fmt.Sprintf("%+v", now)
		})
	}
	delivered(3)
	for range 3 {
		s.kill()
		delivered(8)
	}
	if code, _, errs := s.knit("schedule", "pause", "tick"); code != 0 {
		t.Fatalf("pause: %s", errs)
	}
	schedule := s.state("tick", v1alpha1.ReasonSuspended)
	if got := results(schedule); got[v1alpha1.ActionMissed]+got[v1alpha1.ActionFailed] > 0 {
		t.Errorf("results %v, want none missed or failed", got)
	}
	counts := s.counts("count")
	var planned []metav1.Time
	for _, a := range schedule.Status.LastActions {
		if a.Result == v1alpha1.ActionDelivered {
			planned = append(planned, a.PlannedTime)
		}
	}
	slices.Reverse(planned)
	twice := 0
	for i, at := range planned {
		if i > 0 && at.Sub(planned[i-1].Time) != time.Second {
			t.Errorf("after %v comes %v", planned[i-1], at)
		}
		id := scheduler.EventID(string(schedule.UID), at.Time, "")
		switch n := counts[id]; {
		case n == 0:
			t.Errorf("%s counts as delivered and never came", id)
		case n > 1:
			twice++
		}
		delete(counts, id)
	}
	if len(planned) < 27 || len(counts) > 0 {
		t.Errorf("%d planned times, and events of no planned time: %v", len(planned), counts)
	}
	if twice > 6 {
		t.Errorf("%d events came twice in three deaths, want those under way only", twice)
	}
	t.Logf("%d planned times, %d of them came twice with the same id", len(planned), twice)
}
