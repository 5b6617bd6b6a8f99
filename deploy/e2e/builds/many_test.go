//go:build e2e

package builds

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// First of all, while nothing else runs: the cluster is stopped and started.
func TestCacheOutlivesTheCluster(t *testing.T) {
	ns := s.Namespace(t)
	const used = "package function\n\nimport \"sync\"\n\nvar mu sync.Mutex\n"
	files := func(text string) map[string]string {
		all := goFunction(text)
		all["more.go"] = used
		return all
	}
	s.mustSucceed(t, s.start(t, order{namespace: ns, function: "cached", files: files("one")}))
	s.knitCluster(t, "down")
	s.knitCluster(t, "up")
	s.Eventually(t, "the control plane after the restart", func(ctx context.Context) (bool, error) {
		err := s.Kube.Discovery().RESTClient().Get().AbsPath("/apis/service.knit.dev/v1alpha1").Do(ctx).Error()
		return err == nil, nil
	})
	b := s.ended(t, s.start(t, order{namespace: ns, function: "cached", files: files("two")}))
	if _, good := b.Done(); !good || !b.Status.CacheUsed {
		t.Errorf("after the restart: cacheUsed %v, %s: %s", b.Status.CacheUsed, condition(b).Reason, condition(b).Message)
	}
}

func TestSameSourceIsTheSameImage(t *testing.T) {
	t.Parallel()
	var builds []*v1alpha1.Build
	for range 2 {
		builds = append(builds, s.start(t, order{namespace: s.Namespace(t), function: "same", files: goFunction("same")}))
	}
	s.sameImage(t, builds)
}

func TestTenBuildsAtOnce(t *testing.T) {
	t.Parallel()
	var builds []*v1alpha1.Build
	spaces := []string{s.Namespace(t), s.Namespace(t)}
	for _, ns := range spaces {
		// All of the first namespace before any of the second.
		for i := range 5 {
			builds = append(builds, s.start(t, order{namespace: ns, function: fmt.Sprintf("many-%d", i), files: goFunction(fmt.Sprint(ns, i))}))
		}
	}
	for i, b := range builds {
		s.mustSucceed(t, b)
		builds[i] = s.ended(t, b)
	}
	slices.SortFunc(builds, func(a, b *v1alpha1.Build) int {
		return cmp.Compare(a.Status.FinishTime.Unix(), b.Status.FinishTime.Unix())
	})
	lead, most := 0, 0
	for _, b := range builds {
		if b.Namespace == spaces[0] {
			lead++
		} else {
			lead--
		}
		most = max(most, lead)
	}
	// Two at once for each namespace: who came first is ahead by little.
	if most > 3 {
		t.Errorf("the first namespace was %d builds ahead of the other", most)
	}
	first, last := builds[0].CreationTimestamp, builds[len(builds)-1].Status.FinishTime
	t.Logf("ten builds in %s; the first namespace was at most %d ahead; pods used %d MiB at most since the cluster's start", last.Sub(first.Time), most, s.peak())
}

// peak is the most memory that all pods had at once, in MiB, caches included.
func (s *stand) peak() int {
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/memory", s.cluster, "kubepods", "memory.max_usage_in_bytes"))
	if err != nil {
		return 0
	}
	bytes, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return bytes >> 20
}
