package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	manyFunctions = 100
	idleWindow    = 30 * time.Second
)

// measureManyFunctions deploys a hundred functions by image with one command,
// waits until their pods are gone again, and reads what the control plane uses
// then. A round takes minutes, so there is one for ten samples.
func (b *bench) measureManyFunctions(ctx context.Context) ([]figure, error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	const built = "bench-image"
	p, err := f.project(built)
	if err != nil {
		return nil, err
	}
	if _, _, err := f.run(ctx, built, "line 0", "deploy", p.dir); err != nil {
		return nil, err
	}
	image, err := f.image(ctx, built)
	if err != nil {
		return nil, err
	}
	var ready, spent, idle samples
	idle.unit = "‰ of a core"
	for range max(1, b.samples/10) {
		before, err := f.controlPlaneCPU(ctx)
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		names, err := f.many(ctx, "bench-many", manyFunctions, "source: {image: "+image+"}")
		if err != nil {
			return nil, err
		}
		ready.add(time.Since(begin))
		after, err := f.controlPlaneCPU(ctx)
		if err != nil {
			return nil, err
		}
		spent.add(after - before)
		used, err := f.idleCPU(ctx)
		if err != nil {
			return nil, err
		}
		idle.values = append(idle.values, used)
		if err := f.delete(ctx, names...); err != nil {
			return nil, err
		}
	}
	return []figure{
		{fmt.Sprintf("%d functions by image in one `knit deploy`, all Ready", manyFunctions), "≤ 120 s", ready},
		{"– CPU time of the control plane in it", "", spent},
		{fmt.Sprintf("– its CPU in %s afterwards", idleWindow), "idle", idle},
	}, f.delete(ctx, built)
}

// idleCPU waits until every function is at zero, and reads what the control
// plane uses from then on, in thousandths of a core.
func (f *functions) idleCPU(ctx context.Context) (float64, error) {
	if err := f.atZero(ctx); err != nil {
		return 0, err
	}
	before, err := f.controlPlaneCPU(ctx)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, idleWindow); err != nil {
		return 0, err
	}
	after, err := f.controlPlaneCPU(ctx)
	return 1000 * (after - before).Seconds() / idleWindow.Seconds(), err
}

// controlPlaneCPU is the CPU time of the control plane's pods since they started.
func (f *functions) controlPlaneCPU(ctx context.Context) (time.Duration, error) {
	pods, err := f.kube.CoreV1().Pods("knit-system").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=knit-controlplane"})
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, p := range pods.Items {
		d, err := podCPU(string(p.UID))
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// podCPU reads a pod's control group, of either version.
func podCPU(uid string) (time.Duration, error) {
	for _, file := range glob("/sys/fs/cgroup/cpuacct/*/kubepods/*/pod" + uid + "/cpuacct.usage") {
		data, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return time.Duration(n), err
	}
	for _, file := range glob("/sys/fs/cgroup/*/kubepods/*/pod" + uid + "/cpu.stat") {
		data, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				return time.Duration(n) * time.Microsecond, err
			}
		}
	}
	return 0, fmt.Errorf("pod %s has no control group", uid)
}
