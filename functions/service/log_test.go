package service

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func aBuild(name, podName string, condition metav1.Condition) *v1alpha1.Build {
	b := &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name, UID: types.UID("uid-" + name)}}
	b.Status.PodName = podName
	b.Set(condition)
	return b
}

// aPod has containers with the phases in the given states: r(unning) or t(erminated).
func aPod(name string, phase corev1.PodPhase, states map[v1alpha1.PhaseName]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "knit-builds", Name: name, UID: types.UID(name)}, Status: corev1.PodStatus{Phase: phase}}
	for _, name := range containers {
		status := corev1.ContainerStatus{Name: string(name)}
		switch states[name] {
		case "r":
			status.State.Running = &corev1.ContainerStateRunning{}
		case "t":
			status.State.Terminated = &corev1.ContainerStateTerminated{}
		}
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, status)
	}
	return p
}

var allDone = map[v1alpha1.PhaseName]string{"fetch": "t", "analyze": "t", "build": "t", "export": "t"}

func logServer(t *testing.T, kube *fake.Clientset, builds ...client.Object) *httptest.Server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader := clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(builds...).Build()
	a := &api{logs: &logHandler{builds: reader, pods: kube.CoreV1().Pods("knit-builds"), store: newRegistry(t).store(), namespace: "knit-builds", streams: newSlots(4)}}
	s := httptest.NewServer(withPaths(a))
	t.Cleanup(s.Close)
	return s
}

func getLog(t *testing.T, s *httptest.Server, namespace, name, query string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/apis/service.knit.dev/v1alpha1/namespaces/"+namespace+"/builds/"+name+"/log"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Client().Do(req)
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

func TestLog(t *testing.T) {
	good := v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", "")
	running := v1alpha1.Unknown(v1alpha1.ConditionSucceeded, "Running", "")
	s := logServer(t, fake.NewClientset(
		aPod("build-uid-done", corev1.PodSucceeded, allDone),
		aPod("build-uid-failed", corev1.PodFailed, map[v1alpha1.PhaseName]string{"fetch": "t", "analyze": "t", "build": "t"}),
		aPod("build-uid-bobs", corev1.PodSucceeded, allDone),
	),
		aBuild("done", "build-uid-done", good), aBuild("failed", "build-uid-failed", running),
		aBuild("gone", "build-uid-gone", good), aBuild("queued", "", running),
		aBuild("thief", "build-uid-bobs", good),
	)
	const line = "fake logs"
	cases := map[string]struct {
		namespace, name, query string
		code                   int
		want                   string
		reason                 string
	}{
		"all phases":    {name: "done", code: 200, want: "===> fetch\n" + line + "===> analyze\n" + line + "===> build\n" + line + "===> export\n" + line},
		"one phase":     {name: "done", query: "?phase=build", code: 200, want: "===> build\n" + line},
		"part of one":   {name: "done", query: "?phase=detect", code: 200, want: "===> build\n" + line, reason: "detect has no container of its own"},
		"failed":        {name: "failed", query: "?follow=true", code: 200, want: "===> fetch\n" + line + "===> analyze\n" + line + "===> build\n" + line, reason: "following ends with the pod"},
		"unknown phase": {name: "done", query: "?phase=x", code: 400, want: "fetch"},
		"bad follow":    {name: "done", query: "?follow=maybe", code: 400, want: "maybe"},
		"gone":          {name: "gone", code: 404, want: "not kept any more"},
		"queued":        {name: "queued", code: 409, want: "follow=true"},
		"no build":      {name: "nothing", code: 404, want: "not found"},
		"of another":    {namespace: "bob", name: "done", code: 404, want: "not found", reason: "the Build must be in the namespace that rights were checked for"},
		"forged status": {name: "thief", code: 404, want: "not kept any more", reason: "a status that names another's pod opens nothing"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.namespace == "" {
				c.namespace = "alice"
			}
			code, body := getLog(t, s, c.namespace, c.name, c.query)
			if code != c.code || !strings.Contains(body, c.want) || (code == 200 && body != c.want) {
				t.Errorf("%d %q, want %d %q: %s", code, body, c.code, c.want, c.reason)
			}
		})
	}
}

func TestFollowWaitsForTheNextPhase(t *testing.T) {
	kube := fake.NewClientset(aPod("build-uid-b", corev1.PodPending, map[v1alpha1.PhaseName]string{"fetch": "t"}))
	s := logServer(t, kube, aBuild("b", "build-uid-b", v1alpha1.Unknown(v1alpha1.ConditionSucceeded, "Running", "")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/apis/service.knit.dev/v1alpha1/namespaces/alice/builds/b/log?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	first := make([]byte, len("===> fetch\nfake logs"))
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "===> fetch\nfake logs" {
		t.Fatalf("the first phase must come before the second begins: %q, %v", first, err)
	}
	if _, err := kube.CoreV1().Pods("knit-builds").UpdateStatus(ctx, aPod("build-uid-b", corev1.PodSucceeded, allDone), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(answer.Body)
	if err != nil || !strings.HasSuffix(string(rest), "===> export\nfake logs") {
		t.Errorf("the rest: %q, %v", rest, err)
	}
}
