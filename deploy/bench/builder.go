package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// measureUnchanged times the command that finds out that nothing changed.
func (b *bench) measureUnchanged(ctx context.Context) ([]figure, error) {
	if _, err := b.knit(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := newProject(dir, "go"); err != nil {
		return nil, err
	}
	const manifest = "apiVersion: knit.dev/v1alpha1\nkind: Function\nmetadata:\n  name: bench-unchanged\nspec:\n  language: go\n  source:\n    path: .\n"
	if err := os.WriteFile(filepath.Join(dir, "knit.yaml"), []byte(manifest), 0o644); err != nil {
		return nil, err
	}
	defer func() { _ = b.command(context.WithoutCancel(ctx), "delete", "bench-unchanged") }()
	var s samples
	for n := range b.samples + 1 {
		begin := time.Now()
		if err := b.command(ctx, "deploy", dir); err != nil {
			return nil, err
		}
		if n > 0 { // the first one builds
			s.add(time.Since(begin))
		}
	}
	return []figure{{"`knit deploy`, nothing changed: decision and answer, no pod", "≤ 0.5 s", s}}, nil
}

// measureGo times a changed line of a Go function, and functions that nobody
// built before.
func (b *bench) measureGo(ctx context.Context) ([]figure, error) {
	figures, err := b.measureChange(ctx, "go", "one line of Go changed: Build created → image in the registry")
	if err != nil {
		return nil, err
	}
	first, err := b.measureFirst(ctx)
	return append(figures, figure{"Go function (net/http only), empty caches", "≤ 8 s", first}), err
}

func (b *bench) measureNode(ctx context.Context) ([]figure, error) {
	return b.measureChange(ctx, "node", fmt.Sprintf("Node with %d packages, one line changed", dependencies))
}

func (b *bench) measurePython(ctx context.Context) ([]figure, error) {
	return b.measureChange(ctx, "python", fmt.Sprintf("Python with %d packages, one line changed", dependencies))
}

// measureChange builds a project once, then with another line each time.
func (b *bench) measureChange(ctx context.Context, language, title string) ([]figure, error) {
	s, err := b.knit(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p, err := newProject(dir, language)
	if err != nil {
		return nil, err
	}
	var total samples
	parts := make([]samples, len(buildStages))
	for n := range b.samples + 1 {
		if n > 0 {
			if err := p.change(n-1, n); err != nil {
				return nil, err
			}
		}
		took, err := s.build(ctx, "bench-"+language, p)
		if err != nil {
			return nil, err
		}
		if n == 0 { // fills the caches
			continue
		}
		total.add(took.total)
		for k, stage := range took.stages {
			parts[k].add(stage)
		}
	}
	figures := []figure{{title, "≤ 4 s", total}}
	for k, name := range buildStages {
		aim := ""
		if k == lifecycleStage {
			aim = "≤ 1.5 s"
		}
		figures = append(figures, figure{"– " + name, aim, parts[k]})
	}
	return figures, nil
}

// measureFirst builds for a new function each time: there is neither a cache
// nor an image before.
func (b *bench) measureFirst(ctx context.Context) (samples, error) {
	var total samples
	s, err := b.knit(ctx)
	if err != nil {
		return total, err
	}
	dir, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return total, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p, err := newProject(dir, "go")
	if err != nil {
		return total, err
	}
	run := time.Now().Unix()
	for n := range b.samples {
		took, err := s.build(ctx, fmt.Sprintf("bench-first-%d-%d", run, n), p)
		if err != nil {
			return total, err
		}
		total.add(took.total)
	}
	return total, nil
}

// together is how many builds run at once.
const together = 10

// measureMany builds ten functions at once: the time of each, how much longer
// the slowest took than the fastest, and the most memory that build pods used.
func (b *bench) measureMany(ctx context.Context) ([]figure, error) {
	s, err := b.knit(ctx)
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(root) }()
	var each, all, memory samples
	memory.unit = "MiB"
	run := time.Now().Unix()
	for round := range max(1, b.samples/together) {
		took, peak, err := s.many(ctx, root, fmt.Sprintf("%d-%d", run, round))
		if err != nil {
			return nil, err
		}
		slowest := time.Duration(0)
		for _, t := range took {
			each.add(t.total)
			slowest = max(slowest, t.total)
		}
		all.add(slowest)
		memory.values = append(memory.values, peak)
	}
	return []figure{
		{fmt.Sprintf("%d builds of Go functions at once, empty caches: each", together), "", each},
		{"until all of them are done", "", all},
		{"memory of all build pods together, at most", "", memory},
	}, nil
}

// many starts ten builds at the same time.
func (s *builds) many(ctx context.Context, root, run string) ([]timed, float64, error) {
	took, digests, projects := make([]timed, together), make([]string, together), make([]project, together)
	for n := range together {
		var err error
		if projects[n], err = newProject(filepath.Join(root, run, fmt.Sprint(n)), "go"); err != nil {
			return nil, 0, err
		}
		if n > 0 {
			if err := projects[n].change(0, n); err != nil {
				return nil, 0, err
			}
		}
		if digests[n], err = s.push(ctx, projects[n].dir); err != nil {
			return nil, 0, err
		}
	}
	watched, stop := context.WithCancel(ctx)
	peak := make(chan float64)
	go func() { peak <- s.peakMemory(watched) }()
	var wg sync.WaitGroup
	errs := make([]error, together)
	for n := range together {
		wg.Go(func() {
			name := fmt.Sprintf("bench-many-%s-%d", run, n)
			took[n], errs[n] = s.run(ctx, name, name, projects[n], digests[n])
		})
	}
	wg.Wait()
	stop()
	most := <-peak
	for _, err := range errs {
		if err != nil {
			return nil, 0, err
		}
	}
	return took, most, nil
}

// peakMemory watches what the control groups of build pods use, in MiB.
func (s *builds) peakMemory(ctx context.Context) float64 {
	most := 0.0
	for sleep(ctx, 100*time.Millisecond) == nil {
		pods, err := s.kube.CoreV1().Pods("knit-builds").List(ctx, listOptions)
		if err != nil {
			continue
		}
		sum := 0.0
		for _, p := range pods.Items {
			sum += podMemory(string(p.UID))
		}
		most = max(most, sum)
	}
	return most
}

// podMemory is the memory of a pod's control group without caches of files, in MiB.
func podMemory(uid string) float64 {
	for _, pattern := range []string{
		"/sys/fs/cgroup/memory/*/kubepods/*/pod" + uid, "/sys/fs/cgroup/memory/*/kubepods/pod" + uid,
		"/sys/fs/cgroup/memory/kubepods/*/pod" + uid, "/sys/fs/cgroup/*/kubepods/*/pod" + uid,
	} {
		for _, dir := range glob(pattern) {
			stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(stat)) {
				var bytes float64
				if n, _ := fmt.Sscanf(line, "total_rss %g", &bytes); n == 1 {
					return bytes / (1 << 20)
				}
				if n, _ := fmt.Sscanf(line, "anon %g", &bytes); n == 1 {
					return bytes / (1 << 20)
				}
			}
		}
	}
	return 0
}

func glob(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	return found
}
