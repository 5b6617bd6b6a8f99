package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// measureDeployChange times `knit deploy` after one line of Go changed, until
// the function answers with the new line.
func (b *bench) measureDeployChange(ctx context.Context) ([]figure, error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	const name = "bench-change"
	p, err := f.project(name)
	if err != nil {
		return nil, err
	}
	var s deploySamples
	for n := range b.samples + 1 {
		if n > 0 {
			if err := p.change(n-1, n); err != nil {
				return nil, err
			}
		}
		took, steps, err := f.run(ctx, name, fmt.Sprintf("line %d", n), "deploy", p.dir)
		if err != nil {
			return nil, err
		}
		if n > 0 { // the first fills the caches
			s.add(took, steps)
		}
	}
	return s.figures("one line of Go changed: `knit deploy` started → the new revision answers", "≤ 6 s"), f.delete(ctx, name)
}

// measureDeployFirst times the first `knit deploy` of projects that
// `knit init` has just written.
func (b *bench) measureDeployFirst(ctx context.Context) ([]figure, error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	var s deploySamples
	run := time.Now().Unix()
	for n := range b.samples {
		name := fmt.Sprintf("bench-first-%d-%d", run, n)
		dir := filepath.Join(f.dir, name)
		if err := b.command(ctx, "init", dir, "--language", "go"); err != nil {
			return nil, err
		}
		took, steps, err := f.run(ctx, name, "", "deploy", dir)
		if err != nil {
			return nil, err
		}
		s.add(took, steps)
		if err := f.delete(ctx, name); err != nil {
			return nil, err
		}
	}
	return s.figures("first `knit deploy` of a fresh Go template: started → the function answers", "≤ 15 s"), nil
}

// deployPhases are the steps that `knit deploy` tells, in order. Those of the
// build begin after Applied and end with Built.
var deployPhases = []struct{ name, about string }{
	{"Packed", "folder packed"},
	{"Uploaded", "source uploaded"},
	{"Applied", "Function applied"},
	{"fetch", "build: fetch"}, {"analyze", "build: analyze"}, {"detect", "build: detect"},
	{"restore", "build: restore"}, {"build", "build: build"}, {"export", "build: export"},
	{"Built", "image known to the Function, after the last phase of the build was told"},
	{"Deployed", "revision ready"},
	{"Ready", "Function ready"},
}

// deploySamples are deployments, each in its steps.
type deploySamples struct {
	total samples
	steps map[string]*samples
}

func (s *deploySamples) add(took time.Duration, steps map[string]time.Duration) {
	s.total.add(took)
	for name, d := range steps {
		if s.steps == nil {
			s.steps = map[string]*samples{}
		}
		if s.steps[name] == nil {
			s.steps[name] = &samples{}
		}
		s.steps[name].add(d)
	}
}

func (s *deploySamples) figures(title, aim string) []figure {
	figures := []figure{{title, aim, s.total}}
	for _, p := range deployPhases {
		if s.steps[p.name] != nil {
			figures = append(figures, figure{"– " + p.about, "", *s.steps[p.name]})
		}
	}
	return figures
}

// measureRollback times `knit rollback` until the old code answers: once with
// the old revision's pod still there, once with none.
func (b *bench) measureRollback(ctx context.Context) ([]figure, error) {
	f, cleanup, err := b.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	const name = "bench-rollback"
	p, err := f.project(name)
	if err != nil {
		return nil, err
	}
	for n := range 2 {
		if n > 0 {
			if err := p.change(0, 1); err != nil {
				return nil, err
			}
		}
		if _, _, err := f.run(ctx, name, fmt.Sprintf("line %d", n), "deploy", p.dir); err != nil {
			return nil, err
		}
	}
	warm, err := f.rollbacks(ctx, name, func(context.Context) error { return nil })
	if err != nil {
		return nil, err
	}
	restore, err := f.quickToZero(ctx)
	if err != nil {
		return nil, err
	}
	defer restore()
	cold, err := f.rollbacks(ctx, name, func(ctx context.Context) error { return f.gone(ctx, name+"-00001") })
	if err != nil {
		return nil, err
	}
	return []figure{
		{"`knit rollback` started → the old code answers", "≤ 1.5 s", warm},
		{"the same, no pod of the old revision left", "≤ 1.5 s", cold},
	}, f.delete(ctx, name)
}

// rollbacks goes back and forth between two revisions and times the way back.
func (f *functions) rollbacks(ctx context.Context, name string, prepare func(context.Context) error) (samples, error) {
	var s samples
	for range f.bench.samples {
		if err := prepare(ctx); err != nil {
			return s, err
		}
		took, _, err := f.run(ctx, name, "line 0", "rollback", name)
		if err != nil {
			return s, err
		}
		s.add(took)
		if _, _, err := f.run(ctx, name, "line 1", "traffic", name, "latest=100"); err != nil {
			return s, err
		}
	}
	return s, nil
}

// gone waits until a revision has no pods.
func (f *functions) gone(ctx context.Context, revision string) error {
	for {
		pods, err := f.kube.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/revision=" + revision})
		if err != nil || len(pods.Items) == 0 {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// quickToZero lets idle revisions go after the shortest time that Knative
// takes, until restore.
func (f *functions) quickToZero(ctx context.Context) (restore func(), err error) {
	set := func(ctx context.Context, window string) error {
		patch := fmt.Appendf(nil, `{"data":{"stable-window":%q}}`, window)
		_, err := f.kube.CoreV1().ConfigMaps("knative-serving").Patch(ctx, "config-autoscaler", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
	before, err := f.kube.CoreV1().ConfigMaps("knative-serving").Get(ctx, "config-autoscaler", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return func() { _ = set(context.WithoutCancel(ctx), before.Data["stable-window"]) }, set(ctx, "6s")
}
