package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	scheduleResource   = schema.GroupVersionResource{Group: "knit.dev", Version: "v1alpha1", Resource: "schedules"}
	pingSourceResource = schema.GroupVersionResource{Group: "sources.knative.dev", Version: "v1", Resource: "pingsources"}
	cronJobResource    = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
)

const (
	lateFor       = 5 * time.Minute // how long the peers run beside each other
	massSchedules = 5_000
	massAhead     = 20 * time.Second // of each round, from its preparation to the planned time
	idleSchedules = 10_000
	idleSettles   = 90 * time.Second
	idleMeasured  = 2 * time.Minute
)

// timeboard holds schedules and their peers, in a namespace of their own, and the
// server that they send to.
type timeboard struct {
	*functions
	namespace string
	receiver  receiver
	ticks     ticks
}

// ticks are the times at which something came, by the path that it came to, as
// how late it was.
type ticks struct {
	mu    sync.Mutex
	late  map[string]*samples
	times map[string]map[time.Time]int // how often each planned time came
}

// ServeHTTP takes what is sent. An event of Knit says when it was planned; the
// peers' planned time is the last whole second or minute.
func (t *ticks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	planned := now.Truncate(time.Second)
	switch r.URL.Path {
	case "/knit":
		if at, err := time.Parse(time.RFC3339, r.Header.Get("Ce-Time")); err == nil {
			planned = at
		}
	case "/cron":
		planned = now.Truncate(time.Minute)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.late[r.URL.Path] == nil {
		t.late[r.URL.Path], t.times[r.URL.Path] = &samples{}, map[time.Time]int{}
	}
	t.late[r.URL.Path].add(now.Sub(planned))
	t.times[r.URL.Path][planned.UTC()]++
	w.WriteHeader(http.StatusAccepted)
}

func (b *bench) timeboard(ctx context.Context, handler func(*timeboard) http.Handler) (*timeboard, func(), error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, nil, err
	}
	t := &timeboard{functions: f, ticks: ticks{late: map[string]*samples{}, times: map[string]map[time.Time]int{}}}
	t.receiver.network = b.name
	if err := t.receiver.listen(handler(t)); err != nil {
		cleanup()
		return nil, nil, err
	}
	ns, err := f.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-schedules-"}}, metav1.CreateOptions{})
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	t.namespace = ns.Name
	return t, func() {
		cleanup()
		_ = f.kube.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), t.namespace, metav1.DeleteOptions{PropagationPolicy: &background})
		_ = t.receiver.server.Close()
	}, nil
}

func (t *timeboard) url(path string) string { return "http://" + t.receiver.address + path }

func (t *timeboard) create(ctx context.Context, resource schema.GroupVersionResource, kind, name string, spec map[string]any) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}
	return t.objects.Resource(resource).Namespace(t.namespace).Create(ctx, o, metav1.CreateOptions{})
}

// measureLateness runs a Schedule and a PingSource of every second, a CronJob of
// every minute and a Schedule whose sink is a function, beside each other.
func (b *bench) measureLateness(ctx context.Context) ([]figure, error) {
	t, cleanup, err := b.timeboard(ctx, func(t *timeboard) http.Handler { return &t.ticks })
	if err != nil {
		return nil, err
	}
	defer cleanup()
	every := "* * * * * *"
	service, err := t.create(ctx, serviceResource, "Service", "warm", map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"autoscaling.knative.dev/min-scale": "1"}},
		"spec":     map[string]any{"containers": []any{map[string]any{"image": b.image}}, "automountServiceAccountToken": false},
	}})
	if err != nil {
		return nil, err
	}
	if err := t.ready(ctx, serviceResource, service.GetName()); err != nil {
		return nil, err
	}
	objects := []struct {
		resource   schema.GroupVersionResource
		kind, name string
		spec       map[string]any
	}{
		{scheduleResource, "Schedule", "knit", map[string]any{"cron": []any{every}, "sink": map[string]any{"uri": t.url("/knit")}}},
		{scheduleResource, "Schedule", "function", map[string]any{"cron": []any{every}, "historyLimit": int64(100), "sink": map[string]any{"ref": map[string]any{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "warm"}}}},
		{pingSourceResource, "PingSource", "ping", map[string]any{"schedule": every, "data": "tick", "sink": map[string]any{"uri": t.url("/ping")}}},
		{cronJobResource, "CronJob", "cron", map[string]any{"schedule": "* * * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never", "containers": []any{map[string]any{"name": "get", "image": b.image, "args": []any{"get", t.url("/cron")}}},
		}}}}}},
	}
	for _, o := range objects {
		if _, err := t.create(ctx, o.resource, o.kind, o.name, o.spec); err != nil {
			return nil, fmt.Errorf("create the %s: %w", o.kind, err)
		}
	}
	if err := sleep(ctx, lateFor); err != nil {
		return nil, err
	}
	answered, err := t.answered(ctx, "function")
	if err != nil {
		return nil, err
	}
	t.ticks.mu.Lock()
	defer t.ticks.mu.Unlock()
	figures := late("Schedule, planned → received", "p50 ≤ 15 ms, p99 ≤ 50 ms", *t.ticks.late["/knit"])
	figures = append(figures, late("– planned → answered by a warm function", "p50 ≤ 15 ms, p99 ≤ 50 ms", answered)...)
	for _, peer := range []struct{ path, name string }{{"/ping", "PingSource"}, {"/cron", "CronJob, with its pod's start"}} {
		if s := t.ticks.late[peer.path]; s != nil {
			figures = append(figures, late("– "+peer.name+", planned → received", "ours ahead", *s)...)
		}
	}
	return figures, nil
}

// late is a figure with its p99.
func late(name, aim string, s samples) []figure {
	return []figure{{name, aim, s}, {"– – its p99", "", samples{values: []float64{s.at(0.99)}}}}
}

// answered is how late the last actions of a Schedule were settled.
func (t *timeboard) answered(ctx context.Context, name string) (samples, error) {
	var s samples
	o, err := t.objects.Resource(scheduleResource).Namespace(t.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	actions, _, err := unstructured.NestedSlice(o.Object, "status", "lastActions")
	for _, a := range actions {
		action, _ := a.(map[string]any)
		planned, _ := time.Parse(time.RFC3339, fmt.Sprint(action["plannedTime"]))
		actual, err := time.Parse(time.RFC3339Nano, fmt.Sprint(action["actualTime"]))
		if err == nil && action["result"] == "Delivered" {
			s.add(actual.Sub(planned))
		}
	}
	if err == nil && len(s.values) == 0 {
		err = fmt.Errorf("schedule %s delivered nothing: %v", name, o.Object["status"])
	}
	return s, err
}

// ready waits until an object says that it is.
func (t *timeboard) ready(ctx context.Context, resource schema.GroupVersionResource, name string) error {
	for {
		o, err := t.objects.Resource(resource).Namespace(t.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Ready" && m["status"] == "True" {
				return nil
			}
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
