package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// buildStages are the parts of a build's time, in the order of a pod's life.
// Containers run one after the other, so their processes start and end in turns.
var buildStages = []string{
	"Build created → the pod's sandbox runs", "its containers' processes run", "of that, those of the lifecycle",
	"between one process and the next", "last process ended → image in the Build's status",
}

// lifecycleStage is the index of the lifecycle's share.
const lifecycleStage = 2

// buildTrace listens to containerd while one build runs on an idle cluster.
type buildTrace struct {
	mu     sync.Mutex
	events []taskEvent
}

type taskEvent struct {
	container string
	start     bool
	at        time.Time
}

// listen begins before the build and ends with ctx.
func (t *buildTrace) listen(ctx context.Context, b *bench) error {
	cmd := exec.CommandContext(ctx, "ctr", "--address", "/run/knit/"+b.name+"/containerd.sock", "--namespace", "k8s.io", "events")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			event, ok := parseTaskEvent(s.Text())
			if !ok {
				continue
			}
			t.mu.Lock()
			t.events = append(t.events, event)
			t.mu.Unlock()
		}
		_ = cmd.Wait()
	}()
	return sleep(ctx, 200*time.Millisecond) // the stream is open
}

// parseTaskEvent reads a line such as
//
//	2026-01-02 15:04:05 +0000 UTC k8s.io /tasks/start {"container_id":"…","pid":7}
//
// The ends of processes that were executed in a container do not count.
func parseTaskEvent(line string) (taskEvent, bool) {
	_, start, _ := strings.Cut(line, "/tasks/start ")
	_, exit, _ := strings.Cut(line, "/tasks/exit ")
	var body struct {
		Container string `json:"container_id"`
		ID        string `json:"id"`
	}
	if json.Unmarshal([]byte(start+exit), &body) != nil || body.Container == "" || exit != "" && body.ID != body.Container {
		return taskEvent{}, false
	}
	return taskEvent{body.Container, start != "", time.Now()}, true
}

// stages returns the times of buildStages. The first container to start is the
// sandbox; the second fetches the source and is no part of the lifecycle.
func (t *buildTrace) stages(begin, end time.Time) ([]time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ends := map[string]time.Time{}
	for _, e := range t.events {
		if !e.start && ends[e.container].IsZero() {
			ends[e.container] = e.at
		}
	}
	var starts []taskEvent
	for _, e := range t.events {
		if e.start {
			starts = append(starts, e)
		}
	}
	if len(starts) != containersOfBuild+1 {
		return nil, fmt.Errorf("containerd told of %d containers, want a sandbox and %d", len(starts), containersOfBuild)
	}
	var running, lifecycle, between time.Duration
	var last time.Time
	for i, e := range starts[1:] {
		ended := ends[e.container]
		if ended.IsZero() {
			return nil, fmt.Errorf("containerd did not tell that container %d of the build ended", i+1)
		}
		running += ended.Sub(e.at)
		if i > 0 {
			lifecycle += ended.Sub(e.at)
			between += e.at.Sub(last)
		}
		last = ended
	}
	return []time.Duration{starts[0].at.Sub(begin), running, lifecycle, between, end.Sub(last)}, nil
}

// containersOfBuild is how many containers a build pod has.
const containersOfBuild = 4
