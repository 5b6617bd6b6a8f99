package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	rate     = 500 // requests a second
	duration = 10 * time.Second
	rounds   = 3
)

// measureLatency sends an open load of 500 requests a second in turns to the
// bare pod and through gateway and queue-proxy, and compares.
func (b *bench) measureLatency(ctx context.Context) ([]figure, error) {
	d, err := b.deploy(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	defer d.remove(context.WithoutCancel(ctx))
	pods, err := d.kube.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/service=" + serviceName(0)})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("service %s has no pod", serviceName(0))
	}
	direct := &deployed{client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	var bare, through samples
	for range rounds {
		if err := load(ctx, direct, "http://"+pods.Items[0].Status.PodIP+":8080/", &bare); err != nil {
			return nil, err
		}
		if err := load(ctx, d, "http://"+serviceName(0)+".default.knit.localhost/", &through); err != nil {
			return nil, err
		}
	}
	added := samples{}
	for _, q := range []float64{0.5, 0.95} {
		added.values = append(added.values, max(0, through.at(q)-bare.at(q)))
	}
	return []figure{
		{"bare pod at 500 requests/s", "", bare},
		{"through gateway and queue-proxy at 500 requests/s", "", through},
		{"added by gateway and queue-proxy (difference of the two rows above)", "p95 ≤ 3 ms", added},
	}, nil
}

// load sends requests on a fixed timetable; a slow answer does not slow the
// sender, so that waiting time is measured, too.
func load(ctx context.Context, d *deployed, url string, s *samples) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for range int(duration.Seconds()) * rate {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		wg.Go(func() {
			begin := time.Now()
			err := d.ask(ctx, url)
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			s.add(took)
		})
	}
	wg.Wait()
	return failed
}
