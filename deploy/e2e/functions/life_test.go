//go:build e2e

package functions

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// greet makes the probe answer with a word beside its pod's name.
func greet(fn *v1alpha1.Function, word string) *v1alpha1.Function {
	fn.Spec.Env = slices.DeleteFunc(fn.Spec.Env, func(e corev1.EnvVar) bool { return e.Name == "GREETING" })
	fn.Spec.Env = append(fn.Spec.Env, corev1.EnvVar{Name: "GREETING", Value: word})
	return fn
}

// askPath asks for a path of a function's URL.
func askPath(ctx context.Context, url, path string) (string, error) {
	r, err := request(ctx, strings.SplitN(strings.TrimPrefix(url, "http://"), ":", 2)[0])
	if err != nil {
		return "", err
	}
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(path, "?")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

// load asks without a pause, with so many at once, until it is stopped; the
// answer says how often it asked, and what failed.
func (s *stage) load(url, path string, many int) (stop func() (asked int64, failed []string)) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var asked atomic.Int64
	var mu sync.Mutex
	var failed []string
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := askPath(context.WithoutCancel(ctx), url, path); err != nil {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
				asked.Add(1)
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		group.Wait()
		return asked.Load(), failed
	}
}

// A Function that is applied by nothing but the Kubernetes API: the moment that
// Ready is True for a generation, a request gets what that generation says.
// Anybody who watches sees each generation come to Ready once, and nothing else.
func TestReadyMeansThatARequestSucceeds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	watched := s.watch("it")
	s.create(greet(s.function("it"), "word-1"))
	const generations = 4
	for n := 1; n <= generations; n++ {
		fn := s.ready("it")
		if answer, err := askPath(t.Context(), fn.Status.URL, "/"); err != nil || !strings.HasSuffix(answer, fmt.Sprint(" word-", n)) {
			t.Errorf("Ready for generation %d, and it answers %q %v", fn.Generation, answer, err)
		}
		if n < generations {
			s.change("it", func(fn *v1alpha1.Function) { greet(fn, fmt.Sprint("word-", n+1)) })
		}
	}
	var settled []string
	for _, state := range watched.seen(s, "it") {
		if strings.Contains(state, "False") {
			t.Errorf("a state that nobody should see: %s", state)
		}
		if strings.Contains(state, "True") {
			settled = append(settled, state)
		}
	}
	if want := []string{"1 True Ready", "2 True Ready", "3 True Ready", "4 True Ready"}; !slices.Equal(settled, want) {
		t.Errorf("it was seen ready as %q, want %q", settled, want)
	}
}

func TestATagIsAURLOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.create(greet(s.function("it"), "first"))
	s.ready("it")
	s.change("it", func(fn *v1alpha1.Function) {
		greet(fn, "second")
		fn.Spec.Traffic = []v1alpha1.TrafficTarget{{Percent: ptr.To(int64(100))}, {Revision: "it-00001", Tag: "old"}}
	})
	fn := s.ready("it")
	if answer, err := askPath(t.Context(), fn.Status.URL, "/"); err != nil || !strings.HasSuffix(answer, "second") {
		t.Errorf("the function's URL: %q %v", answer, err)
	}
	i := slices.IndexFunc(fn.Status.Traffic, func(share v1alpha1.TrafficShare) bool { return share.Tag == "old" })
	if i < 0 || fn.Status.Traffic[i].URL == "" {
		t.Fatalf("no URL of the tag: %+v", fn.Status.Traffic)
	}
	if answer, err := askPath(t.Context(), fn.Status.Traffic[i].URL, "/"); err != nil || !strings.HasSuffix(answer, "first") {
		t.Errorf("the tag's URL: %q %v", answer, err)
	}
}

func TestFromZeroToManyAndBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	fn := s.function("it")
	fn.Spec.Scale = v1alpha1.Scale{Initial: ptr.To(int32(0)), Max: ptr.To(int32(4)), Concurrency: ptr.To(int64(1))}
	s.create(fn)
	url := s.ready("it").Status.URL
	if pods := s.pods("it"); len(pods) != 0 {
		t.Fatalf("%d pods before the first request", len(pods))
	}
	var mu sync.Mutex
	hosts := map[string]int{}
	var group sync.WaitGroup
	const burst = 16
	for range burst {
		group.Go(func() {
			host, err := askPath(t.Context(), url, "/slow?for=2s")
			if err != nil {
				t.Errorf("a request of the burst failed: %v", err)
			}
			mu.Lock()
			hosts[host]++
			mu.Unlock()
		})
	}
	group.Wait()
	if len(hosts) < 2 || len(hosts) > 4 {
		t.Errorf("%d requests at once were answered by %v, want more than one pod and no more than 4", burst, hosts)
	}
	s.within(3*time.Minute, "back to zero", func() (bool, string) {
		fn := s.read("it")
		pods := s.pods("it")
		return len(pods) == 0 && fn.Status.Replicas != nil && *fn.Status.Replicas == 0 && fn.Holds(v1alpha1.ConditionReady),
			fmt.Sprintf("%d pods, replicas %v, %v", len(pods), ptr.Deref(fn.Status.Replicas, -1), fn.Status.Conditions)
	})
	if _, err := askPath(t.Context(), url, "/"); err != nil {
		t.Errorf("from zero again: %v", err)
	}
}

// pods are the pods of a Function that are not on their way out.
func (s *stage) pods(function string) []corev1.Pod {
	s.t.Helper()
	var pods corev1.PodList
	if err := s.api.List(s.t.Context(), &pods, client.InNamespace(s.namespace), client.MatchingLabels{serving.ServiceLabelKey: function}); err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !p.DeletionTimestamp.IsZero() })
}

// While requests run, a new revision takes over, and then a pod is taken away:
// every request that was accepted is answered.
func TestDrainUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	fn := greet(s.function("it"), "first")
	fn.Spec.Scale.Min = ptr.To(int32(2))
	s.create(fn)
	url := s.ready("it").Status.URL
	stop := s.load(url, "/slow?for=700ms", 6)
	s.change("it", func(fn *v1alpha1.Function) { greet(fn, "second") })
	s.ready("it")
	s.within(2*time.Minute, "the old revision has no pods", func() (bool, string) {
		pods := s.pods("it")
		old := slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Labels[serving.RevisionLabelKey] == "it-00001" })
		return !old && len(pods) >= 2, fmt.Sprint(len(pods))
	})
	gone := s.pods("it")[0]
	if err := s.api.Delete(t.Context(), &gone); err != nil {
		t.Fatal(err)
	}
	s.within(2*time.Minute, "another pod in the place of the one that was taken away", func() (bool, string) {
		var pod corev1.Pod
		err := s.api.Get(t.Context(), client.ObjectKeyFromObject(&gone), &pod)
		return err != nil && len(s.pods("it")) >= 2, fmt.Sprint(err)
	})
	if asked, failed := stop(); len(failed) > 0 || asked < 20 {
		t.Errorf("%d of %d requests failed: %q", len(failed), asked, failed)
	}
}

func TestTwoNamespacesWithTheSameNamesDoNotMeet(t *testing.T) {
	t.Parallel()
	first, second := newStage(t), newStage(t)
	first.create(greet(first.function("it"), "of-the-first"))
	second.create(greet(second.function("it"), "of-the-second"))
	urls := []string{first.ready("it").Status.URL, second.ready("it").Status.URL}
	for i, word := range []string{"of-the-first", "of-the-second"} {
		if answer, err := askPath(t.Context(), urls[i], "/"); err != nil || !strings.HasSuffix(answer, word) {
			t.Errorf("%s: %q %v", urls[i], answer, err)
		}
	}
	before := second.read("it")
	first.change("it", func(fn *v1alpha1.Function) { greet(fn, "changed") })
	first.ready("it")
	if err := first.api.Delete(t.Context(), first.read("it")); err != nil {
		t.Fatal(err)
	}
	first.within(time.Minute, "the first one's service is gone", func() (bool, string) {
		err := first.api.Get(t.Context(), client.ObjectKey{Namespace: first.namespace, Name: "it"}, &servingv1.Service{})
		return err != nil, fmt.Sprint(err)
	})
	if answer, err := askPath(t.Context(), urls[1], "/"); err != nil || !strings.HasSuffix(answer, "of-the-second") {
		t.Errorf("the second one after the first one's end: %q %v", answer, err)
	}
	after := second.read("it")
	if after.Generation != before.Generation || after.Status.LatestReadyRevision != before.Status.LatestReadyRevision || !after.Holds(v1alpha1.ConditionReady) {
		t.Errorf("the second one changed: %+v, then %+v", before.Status, after.Status)
	}
}

// The settings of the embedded cluster keep 20 revisions that nobody asks; the
// rest goes, the ones that answer stay.
func TestOldRevisionsAreKeptToANumber(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	fn := greet(s.function("it"), "1")
	fn.Spec.Scale.Initial = ptr.To(int32(0))
	s.create(fn)
	const made, kept = 26, 20
	for n := 2; n <= made; n++ {
		s.ready("it")
		s.change("it", func(fn *v1alpha1.Function) { greet(fn, fmt.Sprint(n)) })
	}
	s.ready("it")
	s.within(2*time.Minute, "the oldest revisions are gone", func() (bool, string) {
		var revisions servingv1.RevisionList
		if err := s.api.List(t.Context(), &revisions, client.InNamespace(s.namespace)); err != nil {
			t.Fatal(err)
		}
		n := len(revisions.Items)
		if n <= kept {
			t.Fatalf("%d revisions are left: too many are gone", n)
		}
		return n == kept+1, fmt.Sprint(n, " revisions")
	})
	if answer, err := askPath(t.Context(), s.read("it").Status.URL, "/"); err != nil || !strings.HasSuffix(answer, fmt.Sprint(" ", made)) {
		t.Errorf("the newest: %q %v", answer, err)
	}
}

// What goes wrong with a request is told to whoever asks; the Function is as
// ready as it was.
func TestAFunctionOutlivesItsBadRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	fn := s.function("it")
	fn.Spec.Timeout = &metav1.Duration{Duration: 2 * time.Second}
	s.create(fn)
	ready := s.ready("it")
	for what, c := range map[string]struct{ path, says string }{
		"too slow":   {"/slow?for=30s", "504"},
		"megabytes":  {"/flood?mb=8", ""},
		"once again": {"/", ""},
	} {
		begin := time.Now()
		code, _, stderr := s.knit("invoke", "it", "--path", c.path)
		if took := time.Since(begin); (code == 0) != (c.says == "") || !strings.Contains(stderr, c.says) || took > 15*time.Second {
			t.Errorf("%s: exit code %d after %v: %s", what, code, took, stderr)
		}
	}
	if code, out, stderr := s.knit("logs", "it"); code != 0 || len(out) > 64<<20 {
		t.Errorf("its log: exit code %d, %d bytes: %s", code, len(out), stderr)
	}
	after := s.read("it")
	before, now := meta.FindStatusCondition(ready.Status.Conditions, v1alpha1.ConditionReady), meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	if now.Status != metav1.ConditionTrue || !now.LastTransitionTime.Equal(&before.LastTransitionTime) {
		t.Errorf("Ready was %+v, is %+v", before, now)
	}
}
