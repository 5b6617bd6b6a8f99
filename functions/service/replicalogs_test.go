package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"knative.dev/serving/pkg/apis/serving"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func readerOf(t *testing.T, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func aReplica(name, function string, ending bool) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "alice", Name: name, UID: types.UID("uid-" + name),
		Labels: map[string]string{v1alpha1.LabelFunction: function, serving.RevisionLabelKey: function + "-00001"},
	}}
	if ending {
		now := metav1.Now()
		pod.DeletionTimestamp = &now
	}
	return pod
}

// writtenBy asks for the kept logs of a function.
func writtenBy(t *testing.T, r *testRegistry, reader client.Reader, now time.Time, function, query string) (int, string) {
	t.Helper()
	a := &api{written: &functionLogHandler{reader: reader, store: r.store(), streams: newSlots(2), now: func() time.Time { return now }}}
	s := httptest.NewServer(withPaths(a))
	defer s.Close()
	answer, err := s.Client().Get(s.URL + "/apis/service.knit.dev/v1alpha1/namespaces/alice/functions/" + function + "/log" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestTheLogOfAReplicaOutlivesIt(t *testing.T) {
	r := newRegistry(t)
	reader := readerOf(t, aFunction("hello"))
	// The fake answers "fake logs" for every pod.
	kube := fake.NewClientset(aReplica("ends", "hello", true), aReplica("runs", "hello", false), aReplica("strange", "nobody", true), aReplica("ends-later", "hello", false))
	c := &Collector{kube: kube, store: r.store(), reader: reader, now: func() time.Time { return noon }, slots: newSlots(4), seen: map[types.UID]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	await(t, func() bool {
		_, text := writtenBy(t, r, reader, noon, "hello", "")
		return strings.Contains(text, "===> ends,")
	})
	if _, err := kube.CoreV1().Pods("alice").Update(ctx, aReplica("ends-later", "hello", true), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		_, text := writtenBy(t, r, reader, noon, "hello", "")
		return strings.Contains(text, "===> ends-later,")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	code, text := writtenBy(t, r, reader, noon, "hello", "")
	want := "===> ends, ended 2026-01-02T12:00:00Z\nfake logs\n===> ends-later, ended 2026-01-02T12:00:00Z\nfake logs\n"
	if code != http.StatusOK || text != want {
		t.Errorf("%d %q, want %q", code, text, want)
	}
	if r.count("/nobody/") > 0 {
		t.Error("what belongs to no function was kept")
	}
}

// await asks again until it holds; the test's own limit ends it.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("it never came to be")
		}
	}
}

func TestKeptLogsOfReplicasAreBounded(t *testing.T) {
	r := newRegistry(t)
	reader := readerOf(t, aFunction("hello"), aFunction("silent"))
	keep := func(n int, ended time.Time, text string) {
		t.Helper()
		l := replicaLog{uid: fmt.Sprint("uid", n), pod: fmt.Sprint("pod", n), revision: fmt.Sprintf("hello-%05d", n%2), ended: ended, truncated: n == 1, text: []byte(text)}
		if err := r.store().keepReplicaLog(t.Context(), "alice", "hello", l); err != nil {
			t.Fatal(err)
		}
	}
	for n := range keepReplicaLogs + 2 {
		keep(n, noon.Add(time.Duration(n)*time.Minute), fmt.Sprintf("a%d\nb%d\nc%d\n", n, n, n))
	}
	cases := map[string]struct {
		reason, function, query string
		code                    int
		want, never             string
	}{
		"all":              {"the oldest were dropped", "hello", "", 200, "===> pod2, ended 2026-01-02T12:02:00Z\na2\nb2\nc2\n===> pod3,", "pod1,"},
		"one revision":     {"others are left out", "hello", "?revision=hello-00001", 200, "===> pod11,", "===> pod10,"},
		"since":            {"by the time when they ended", "hello", "?since=90s", 200, "===> pod11,", "===> pod9,"},
		"tail":             {"the last lines of each", "hello", "?tail=2", 200, "Z\nb11\nc11\n", "a11"},
		"tail of nothing":  {"only who ended when", "hello", "?tail=0", 200, "===> pod11,", "c11"},
		"silent":           {"nothing is no failure", "silent", "", 200, "", "===>"},
		"nobody":           {"the function must be there", "nobody", "", 404, "not found", "===>"},
		"wrong tail":       {"named", "hello", "?tail=x", 400, `tail=\"x\"`, "===>"},
		"wrong since":      {"named", "hello", "?since=-1m", 400, `since=\"-1m\"`, "===>"},
		"another revision": {"none of it", "hello", "?revision=hello-00009", 200, "", "===>"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, text := writtenBy(t, r, reader, noon.Add(12*time.Minute), c.function, c.query)
			if code != c.code || !strings.Contains(text, c.want) || strings.Contains(text, c.never) {
				t.Errorf("%s: %d %q, want %d with %q without %q", c.reason, code, text, c.code, c.want, c.never)
			}
		})
	}
	if err := r.sweeper(t, noon.Add(keepReplicaLog+5*time.Minute+time.Second)).forgetReplicaLogs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, text := writtenBy(t, r, reader, noon, "hello", ""); strings.Contains(text, "pod5,") || !strings.Contains(text, "pod6,") {
		t.Errorf("after a day there is %q", text)
	}
}

func TestAFunctionReadsNothingOfOneBeforeIt(t *testing.T) {
	r := newRegistry(t)
	fn := aFunction("hello")
	fn.CreationTimestamp = metav1.NewTime(noon)
	for n, ended := range map[int]time.Time{1: noon.Add(-time.Minute), 2: noon.Add(time.Minute)} {
		l := replicaLog{uid: fmt.Sprint(n), pod: fmt.Sprint("pod", n), ended: ended, text: []byte("x")}
		if err := r.store().keepReplicaLog(t.Context(), "alice", "hello", l); err != nil {
			t.Fatal(err)
		}
	}
	if _, text := writtenBy(t, r, readerOf(t, fn), noon, "hello", ""); text != "===> pod2, ended 2026-01-02T12:01:00Z\nx\n" {
		t.Errorf("got %q", text)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	for _, writes := range [][]int{{5}, {10}, {11}, {25}, {7, 7, 7}, {1, 30, 1}, {3, 3, 3, 3, 3, 3, 3, 3}} {
		end := &tail{limit: 10}
		var all []byte
		for i, n := range writes {
			p := make([]byte, n)
			for j := range p {
				p[j] = byte('a' + (i*7+j)%26)
			}
			all = append(all, p...)
			if wrote, err := end.Write(p); wrote != n || err != nil {
				t.Fatal(wrote, err)
			}
			if len(end.kept) > 2*end.limit {
				t.Errorf("%v: %d bytes held", writes, len(end.kept))
			}
		}
		text, cut := end.text()
		if want := all[max(0, len(all)-10):]; string(text) != string(want) || cut != (len(all) > 10) {
			t.Errorf("%v: %q %t, want %q", writes, text, cut, want)
		}
	}
}
