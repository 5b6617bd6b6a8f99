package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/knit-dev/knit/scheduler"
)

// schedules makes Schedules, many at once, and returns their uids.
func (t *timeboard) schedules(ctx context.Context, count int, spec map[string]any) ([]string, error) {
	uids := make([]string, count)
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, inFlight)
	for range inFlight {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(count); n = next.Add(1) - 1 {
				o, err := t.create(ctx, scheduleResource, "Schedule", fmt.Sprintf("tick-%d", n), spec)
				if err != nil {
					failed <- err
					return
				}
				uids[n] = string(o.GetUID())
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
		return uids, nil
	}
}

// measureMassSchedules lets thousands of Schedules be due in the same second.
func (b *bench) measureMassSchedules(ctx context.Context) ([]figure, error) {
	t, cleanup, err := b.timeboard(ctx, func(t *timeboard) http.Handler { return &t.receiver })
	if err != nil {
		return nil, err
	}
	defer cleanup()
	late, last := samples{}, samples{}
	var once, more, never int
	memory := samples{unit: "MiB"}
	uids, err := t.schedules(ctx, massSchedules, map[string]any{"cron": []any{"* * * * *"}, "sink": map[string]any{"uri": t.url("/")}})
	if err != nil {
		return nil, err
	}
	// The minutes of the first round are for what their creation left to do.
	planned := time.Now().Truncate(time.Minute).Add(2 * time.Minute)
	for range max(1, b.samples/6) {
		if err := sleep(ctx, time.Until(planned.Add(-massAhead))); err != nil {
			return nil, err
		}
		l := t.receiver.open()
		for _, uid := range uids {
			l.expect(scheduler.EventID(uid, planned, ""), planned)
		}
		if err := sleep(ctx, time.Until(planned)); err != nil {
			return nil, err
		}
		if err := l.settled(ctx, quiet); err != nil {
			return nil, err
		}
		a, c, d := l.balance()
		once, more, never = once+a, more+c, never+d
		late.values = append(late.values, l.latency.values...)
		last.values = append(last.values, l.latency.at(1))
		used, err := b.workingSet(ctx, t.kube, "knit-system", "knit-controlplane")
		if err != nil {
			return nil, err
		}
		memory.values = append(memory.values, used)
		planned = time.Now().Truncate(time.Minute).Add(time.Minute)
		if time.Until(planned) < massAhead {
			planned = planned.Add(time.Minute)
		}
	}
	return []figure{
		{fmt.Sprintf("%d schedules due in the same second: planned → received (came once %d, more often %d, never %d)", massSchedules, once, more, never), "all within 1 s", late},
		{"– the last of them", "≤ 1 s", last},
		{"– working set of the control plane after that", "≤ 300 MiB", memory},
	}, nil
}

// measureIdleSchedules reads what thousands of Schedules cost that have nothing
// to do.
func (b *bench) measureIdleSchedules(ctx context.Context) ([]figure, error) {
	t, cleanup, err := b.timeboard(ctx, func(t *timeboard) http.Handler { return &t.receiver })
	if err != nil {
		return nil, err
	}
	defer cleanup()
	if err := sleep(ctx, idleSettles); err != nil {
		return nil, err
	}
	none, err := t.busy(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := t.schedules(ctx, idleSchedules, map[string]any{"cron": []any{"@yearly"}, "sink": map[string]any{"uri": t.url("/")}}); err != nil {
		return nil, err
	}
	if err := sleep(ctx, idleSettles); err != nil {
		return nil, err
	}
	some, err := t.busy(ctx)
	if err != nil {
		return nil, err
	}
	memory, err := b.workingSet(ctx, t.kube, "knit-system", "knit-controlplane")
	if err != nil {
		return nil, err
	}
	return []figure{
		{fmt.Sprintf("CPU of the control plane in %s without schedules", idleMeasured), "", samples{unit: "‰ of a core", values: []float64{none}}},
		{fmt.Sprintf("– with %d schedules that have nothing to do", idleSchedules), "< 20 ‰ more", samples{unit: "‰ of a core", values: []float64{some}}},
		{"– its working set then", "", samples{unit: "MiB", values: []float64{memory}}},
	}, nil
}

// busy is what the control plane uses, in thousandths of a core.
func (t *timeboard) busy(ctx context.Context) (float64, error) {
	before, err := t.controlPlaneCPU(ctx)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, idleMeasured); err != nil {
		return 0, err
	}
	after, err := t.controlPlaneCPU(ctx)
	return 1000 * (after - before).Seconds() / idleMeasured.Seconds(), err
}
