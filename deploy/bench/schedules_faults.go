package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	faultsEvery = 30 * time.Second // between two kills
	faultsKills = 4
)

// measureScheduleFaults kills what sends, of Knit and of PingSource at the same
// moments, and counts the seconds that never came.
func (b *bench) measureScheduleFaults(ctx context.Context) ([]figure, error) {
	t, cleanup, err := b.timeboard(ctx, func(t *timeboard) http.Handler { return &t.ticks })
	if err != nil {
		return nil, err
	}
	defer cleanup()
	every := "* * * * * *"
	if _, err := t.create(ctx, scheduleResource, "Schedule", "knit", map[string]any{"cron": []any{every}, "sink": map[string]any{"uri": t.url("/knit")}}); err != nil {
		return nil, err
	}
	if _, err := t.create(ctx, pingSourceResource, "PingSource", "ping", map[string]any{"schedule": every, "data": "tick", "sink": map[string]any{"uri": t.url("/ping")}}); err != nil {
		return nil, err
	}
	if err := sleep(ctx, faultsEvery); err != nil {
		return nil, err
	}
	from := time.Now().Truncate(time.Second)
	for range faultsKills {
		for namespace, prefix := range map[string]string{"knit-system": "knit-controlplane", "knative-eventing": "pingsource-mt-adapter"} {
			if err := t.kill(ctx, namespace, prefix); err != nil {
				return nil, err
			}
		}
		if err := sleep(ctx, faultsEvery); err != nil {
			return nil, err
		}
	}
	to := time.Now().Truncate(time.Second)
	// Time to make up for the last one.
	if err := sleep(ctx, faultsEvery); err != nil {
		return nil, err
	}
	t.ticks.mu.Lock()
	defer t.ticks.mu.Unlock()
	var figures []figure
	for _, sender := range []struct{ path, name string }{{"/knit", "a Schedule"}, {"/ping", "– a PingSource"}} {
		once, more, never := 0, 0, 0
		for at := from; at.Before(to); at = at.Add(time.Second) {
			switch n := t.ticks.times[sender.path][at.UTC()]; n {
			case 0:
				never++
			case 1:
				once++
			default:
				more++
			}
		}
		figures = append(figures, figure{
			fmt.Sprintf("%s of every second, its sender killed %d times in %.0f s (came once %d, more often %d)", sender.name, faultsKills, to.Sub(from).Seconds(), once, more),
			"never: 0", samples{unit: "never", values: []float64{float64(never)}},
		})
	}
	return figures, nil
}

// kill deletes pods at once, without a word.
func (t *timeboard) kill(ctx context.Context, namespace, prefix string) error {
	pods, err := t.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	killed, now := 0, int64(0)
	for _, pod := range pods.Items {
		if !strings.HasPrefix(pod.Name, prefix) {
			continue
		}
		if err := t.kube.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			return err
		}
		killed++
	}
	if killed == 0 {
		return fmt.Errorf("no pod %s-… in %s to kill", prefix, namespace)
	}
	return nil
}
