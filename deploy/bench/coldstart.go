package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stages are the moments of a cold start, in order; each is named by what
// happened since the one before.
var stages = []string{
	"gateway, activator and autoscaler: request → Deployment wants a pod",
	"controllers: → pod object exists",
	"scheduling: → pod has a node",
	"sandbox: → its process started",
	"containers: → function's process started",
	"containers: → queue-proxy's process started",
	"readiness: → pod Ready",
	"proxy: → first 200",
}

// trace collects when the moments of one service's cold start were seen.
type trace struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (t *trace) mark(moment string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.at[moment]; !ok {
		t.at[moment] = at
	}
}

// measureColdStart times requests to services at zero, one service after the
// other, and takes each apart by watches and containerd's events.
func (b *bench) measureColdStart(ctx context.Context) ([]figure, error) {
	figures, err := b.coldStarts(ctx, "Knative Service at zero → first 200 (static Go, as Functions are deployed)", "p50 ≤ 700 ms", false)
	if err != nil {
		return nil, err
	}
	more, err := b.coldStarts(ctx, "the same with a service-account token in the pod", "", true)
	return append(figures, more...), err
}

func (b *bench) coldStarts(ctx context.Context, title, aim string, token bool) ([]figure, error) {
	d, err := b.deploy(ctx, b.samples, token)
	if err != nil {
		return nil, err
	}
	defer d.remove(context.WithoutCancel(ctx))
	if err := d.atZero(ctx); err != nil {
		return nil, err
	}
	var names []string
	for n := range d.count {
		names = append(names, serviceName(n))
	}
	return b.timeColdStarts(ctx, d, names, title, aim)
}

// timeColdStarts asks services at zero, one after the other.
func (b *bench) timeColdStarts(ctx context.Context, d *deployed, names []string, title, aim string) ([]figure, error) {
	var total samples
	parts := make([]samples, len(stages))
	for _, name := range names {
		took, moments, err := b.coldStart(ctx, d, name)
		if err != nil {
			return nil, err
		}
		total.add(took)
		for k := range stages {
			if at, before := moments[k+1], moments[k]; !at.IsZero() && !before.IsZero() {
				parts[k].add(max(0, at.Sub(before)))
			}
		}
	}
	figures := []figure{{title, aim, total}}
	for k, name := range stages {
		figures = append(figures, figure{"– " + name, "", parts[k]})
	}
	return figures, nil
}

// coldStart returns the time of one request and the moments begin, stages….
func (b *bench) coldStart(ctx context.Context, d *deployed, name string) (time.Duration, []time.Time, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	t := &trace{at: map[string]time.Time{}}
	if err := t.watch(watching, d, name); err != nil {
		return 0, nil, err
	}
	if err := t.watchTasks(watching, b); err != nil {
		return 0, nil, err
	}
	if err := sleep(ctx, 200*time.Millisecond); err != nil { // the streams are open
		return 0, nil, err
	}
	begin := time.Now()
	if err := d.ask(ctx, "http://"+name+".default.knit.localhost/"); err != nil {
		return 0, nil, err
	}
	end := time.Now()
	if err := sleep(ctx, 300*time.Millisecond); err != nil { // late events
		return 0, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	moments := []time.Time{begin, t.at["wanted"], t.at["pod"], t.at["scheduled"], t.at["task 1"], t.at["task 2"], t.at["task 3"], t.at["ready"], end}
	return end.Sub(begin), moments, nil
}

func (t *trace) watch(ctx context.Context, d *deployed, service string) error {
	only := metav1.ListOptions{LabelSelector: "serving.knative.dev/service=" + service}
	deployments, err := d.kube.AppsV1().Deployments("default").Watch(ctx, only)
	if err != nil {
		return err
	}
	pods, err := d.kube.CoreV1().Pods("default").Watch(ctx, only)
	if err != nil {
		return err
	}
	go func() {
		for e := range deployments.ResultChan() {
			if o, ok := e.Object.(interface{ GetGeneration() int64 }); ok && e.Type == "MODIFIED" && o != nil {
				t.mark("wanted", time.Now())
			}
		}
	}()
	go func() {
		for e := range pods.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			t.mark("pod", time.Now())
			if p.Spec.NodeName != "" {
				t.mark("scheduled", time.Now())
			}
			if isReady(p) {
				t.mark("ready", time.Now())
			}
		}
	}()
	return nil
}

// watchTasks marks the starts of processes: the sandbox, then the containers
// in the order of the pod.
func (t *trace) watchTasks(ctx context.Context, b *bench) error {
	cmd := exec.CommandContext(ctx, "ctr", "--address", "/run/knit/"+b.name+"/containerd.sock", "--namespace", "k8s.io", "events")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		started := 0
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.Contains(s.Text(), "/tasks/start") {
				started++
				t.mark(fmt.Sprintf("task %d", started), time.Now())
			}
		}
		_ = cmd.Wait()
	}()
	return nil
}
