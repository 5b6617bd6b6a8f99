//go:build e2e

package builds

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

var buildLog = &corev1.PodLogOptions{Container: string(v1alpha1.PhaseBuild)}

// Builds that use up what a node has.
func TestExhaustionEndsWithAReason(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		attack   string
		deadline time.Duration
		reason   string
		words    []string
	}{
		"never ends":       {attack: "forever", deadline: 40 * time.Second, reason: "DeadlineExceeded", words: []string{"in phase build", "deadlineSeconds"}},
		"eats memory":      {attack: "memory", reason: "OutOfMemory", words: []string{"phase build"}},
		"fills its layers": {attack: "disk:/layers", reason: "DiskFull", words: []string{"wrote more than it may"}},
		"fills its home":   {attack: "disk:/home/build", reason: "DiskFull", words: []string{"wrote more than it may"}},
		"makes many files": {attack: "files:/workspace=260000", reason: "Refused", words: []string{"250000 files and folders"}},
		"forks for ever":   {attack: "forks", deadline: 80 * time.Second, reason: "DeadlineExceeded", words: []string{"in phase build", "HELD OFF after"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := s.Namespace(t)
			b := s.start(t, order{namespace: ns, function: "greedy", hostile: true, deadline: c.deadline, env: map[string]string{"ATTACK": c.attack}})
			began := time.Now()
			b = s.mustFail(t, b, c.reason, c.words...)
			t.Logf("ended after %s: %s", time.Since(began).Round(time.Second), strings.SplitN(condition(b).Message, "\n", 2)[0])
			s.deleted(t, b)
		})
	}
}

// The kubelet bounds the processes of a pod; other pods go on.
func TestProcessesOfABuildAreBounded(t *testing.T) {
	t.Parallel()
	ns := s.Namespace(t)
	b := s.start(t, order{namespace: ns, function: "forker", hostile: true, env: map[string]string{"ATTACK": "forks"}})
	held := regexp.MustCompile(`HELD OFF after (\d+) processes`)
	s.Eventually(t, "the build is held off", func(ctx context.Context) (bool, error) {
		pod := s.pod(ctx, b)
		if pod == nil {
			return false, nil
		}
		log, err := s.Kube.CoreV1().Pods(v1alpha1.NamespaceBuilds).GetLogs(pod.Name, buildLog).DoRaw(ctx)
		if err != nil {
			return false, nil
		}
		found := held.FindSubmatch(log)
		if found == nil {
			return false, nil
		}
		if count, _ := strconv.Atoi(string(found[1])); count < 100 || count > 4096 {
			return false, fmt.Errorf("it was held off after %d processes, want at most 4096", count)
		}
		return true, nil
	})
	limits, _ := filepath.Glob("/sys/fs/cgroup/pids/" + s.cluster + "/kubepods/*/pod*/pids.max")
	bounded := 0
	for _, file := range limits {
		if limit, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(limit)) == "4096" {
			bounded++
		}
	}
	if bounded == 0 || bounded != len(limits) {
		t.Errorf("%d of %d pods may have 4096 processes at most", bounded, len(limits))
	}
	s.deleted(t, b)
}

// What a build prints is bounded where the controller reads it and where a
// person does; what is kept of it counts as written to disk.
func TestFloodOfLogStaysBounded(t *testing.T) {
	t.Parallel()
	ns := s.Namespace(t)
	const printed = 48
	env := map[string]string{"ATTACK": fmt.Sprintf("flood:%d,shm,fail", printed)}
	b := s.mustFail(t, s.start(t, order{namespace: ns, function: "flood", hostile: true, env: env}), "BuildFailed", "HELD OFF after", "as it was told")
	if message := condition(b).Message; len(message) > 4<<10 {
		t.Errorf("the message has %d bytes", len(message))
	}
	if log := s.log(t, b, v1alpha1.PhaseBuild); len(log) > 17<<20 {
		t.Errorf("a person reads %d MiB of log", len(log)>>20)
	}
}
