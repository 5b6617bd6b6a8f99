package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/builder/incluster"
	buildphase "github.com/knit-dev/knit/builder/phase"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is an API in memory, a clock, and the logs of containers.
type world struct {
	t    *testing.T
	api  client.WithWatch
	time time.Time
	logs map[string]string
	// images is a registry with a login and a CA of its own.
	images registrytest.Registry
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	images := registrytest.Start(t)
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "knit-system", Name: platformName},
		Data: map[string]string{
			"registry": images.Host, "builder-image": images.Host + "/knit/builder@" + digest, "fetch-image": images.Host + "/knit/fetch@" + digest,
		},
	}
	api := reconciletest.Fake(t, scheme, []client.Object{&v1alpha1.Build{}, &corev1.Pod{}}, append(objects, settings)...)
	return &world{t: t, api: api, time: begin, logs: map[string]string{}, images: images}
}

func (w *world) reconciler(c client.Client) *Reconciler {
	w.t.Helper()
	r := newReconciler(c, c, Options{Kube: kubefake.NewClientset(), Registry: w.client()})
	r.now = func() time.Time { return w.time }
	r.tail = func(_ context.Context, _, container string) (string, error) {
		if log, ok := w.logs[container]; ok {
			return log, nil
		}
		return "", errors.New("no log")
	}
	r.end = func(_ context.Context, _, container string, limit int64) ([]byte, bool, error) {
		end := tail{limit: int(limit)}
		if _, err := end.Write([]byte(w.logs[container])); err != nil {
			return nil, false, err
		}
		return end.text(), end.dropped == 0, nil
	}
	return r
}

// client reaches the registry as the control plane does.
func (w *world) client() *registry.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: w.images.CA, MinVersion: tls.VersionTLS12}
	w.t.Cleanup(transport.CloseIdleConnections)
	login := authn.FromConfig(authn.AuthConfig{Username: w.images.Username, Password: w.images.Password})
	return &registry.Client{Keychain: fixedLogin{login}, Transport: transport}
}

type fixedLogin struct{ authn.Authenticator }

func (l fixedLogin) Resolve(authn.Resource) (authn.Authenticator, error) { return l.Authenticator, nil }

func (w *world) reconcile(name string) ctrl.Result {
	w.t.Helper()
	result, err := w.reconciler(w.api).Reconcile(w.t.Context(), request(name))
	if err != nil {
		w.t.Fatalf("reconcile %s: %v", name, err)
	}
	return result
}

func request(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "alice", Name: name}}
}

func (w *world) build(name string) *v1alpha1.Build {
	w.t.Helper()
	var b v1alpha1.Build
	if err := w.api.Get(w.t.Context(), request(name).NamespacedName, &b); err != nil {
		w.t.Fatal(err)
	}
	return &b
}

// pod returns nil when there is none.
func (w *world) pod(name string) *corev1.Pod {
	w.t.Helper()
	var p corev1.Pod
	err := w.api.Get(w.t.Context(), types.NamespacedName{Namespace: "knit-builds", Name: name}, &p)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &p
}

func (w *world) setPod(name string, status corev1.PodStatus) {
	w.t.Helper()
	p := w.pod(name)
	if p == nil {
		w.t.Fatalf("there is no pod %s", name)
	}
	if p.CreationTimestamp.IsZero() { // The API in memory sets none.
		p.CreationTimestamp = metav1.NewTime(w.time)
		if err := w.api.Update(w.t.Context(), p); err != nil {
			w.t.Fatal(err)
		}
	}
	p.Status = status
	if err := w.api.Status().Update(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
}

func aBuild(name string) *v1alpha1.Build {
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(begin)},
		Spec:       v1alpha1.BuildSpec{Function: "hello", Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: digest}}},
	}
}

func succeeded(b *v1alpha1.Build) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// after is a pod's status in which the phases before one are done and that one
// has the given state.
func after(phase v1alpha1.PhaseName, podPhase corev1.PodPhase, state corev1.ContainerState) corev1.PodStatus {
	status := corev1.PodStatus{Phase: podPhase}
	for i, name := range incluster.Phases {
		if name.Container() != name {
			continue
		}
		container := corev1.ContainerStatus{Name: string(name), State: done(0, "", "")}
		if name == phase {
			container.State = state
		}
		if i == len(incluster.Phases)-1 {
			status.ContainerStatuses = append(status.ContainerStatuses, container)
		} else {
			status.InitContainerStatuses = append(status.InitContainerStatuses, container)
		}
		if name == phase {
			break
		}
	}
	return status
}

func done(code int32, reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, Message: message,
		StartedAt: metav1.NewTime(begin.Add(time.Second)), FinishedAt: metav1.NewTime(begin.Add(3 * time.Second)),
	}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(begin.Add(time.Second))}}
}

const report = "[image]\n  tags = [\"a\"]\n  digest = \"" + digest + "\"\n  manifest-size = 1082\n"

func exportedPod() corev1.PodStatus {
	return after(v1alpha1.PhaseExport, corev1.PodSucceeded, done(0, "Completed", report))
}

func TestBuildFromQueueToImage(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.reconcile("b")
	b := w.build("b")
	if !controllerutil.ContainsFinalizer(b, finalizer) || b.Status.PodName != "build-uid-b" || w.pod("build-uid-b") == nil {
		t.Fatalf("after the first pass: finalizers %v, status %+v", b.Finalizers, b.Status)
	}
	if got := succeeded(b); got.Status != metav1.ConditionUnknown || got.Reason != reasonRunning {
		t.Errorf("condition %+v", got)
	}
	w.setPod("build-uid-b", after(v1alpha1.PhaseBuild, corev1.PodPending, running()))
	w.reconcile("b")
	states := map[v1alpha1.PhaseName]v1alpha1.PhaseState{}
	for _, p := range w.build("b").Status.Phases {
		states[p.Name] = p.State
	}
	want := map[v1alpha1.PhaseName]v1alpha1.PhaseState{
		"queue": "Succeeded", "fetch": "Succeeded", "analyze": "Succeeded", "restore": "Succeeded", "detect": "Running", "build": "Pending", "export": "Pending",
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	w.logs["analyze"] = `Restoring data for "knit/go:cache" from cache`
	w.setPod("build-uid-b", exportedPod())
	w.reconcile("b")
	b = w.build("b")
	if ended, ok := b.Done(); !ended || !ok || b.Status.Image != w.images.Host+"/alice/hello@"+digest || !b.Status.CacheUsed || b.Status.FinishTime == nil || b.Status.SourceDigest != digest {
		t.Errorf("status at the end: %+v", b.Status)
	}
	for _, p := range b.Status.Phases {
		if p.State != v1alpha1.PhaseSucceeded || p.StartTime == nil || p.FinishTime == nil {
			t.Errorf("phase %+v has no end", p)
		}
	}
}

// Whatever write is the last one of the process, before it or after it reached
// the API server, the next process ends in the same state.
func TestRestartAtAnyWrite(t *testing.T) {
	for crashAt := 1; crashAt <= 8; crashAt++ {
		for _, reached := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d reached %v", crashAt, reached), func(t *testing.T) {
				w := newWorld(t, aBuild("b"))
				mortal, _ := reconciletest.Mortal(w.api, reconciletest.Crash{At: crashAt, Done: reached})
				dying := w.reconciler(mortal)
				for range 4 {
					_, _ = dying.Reconcile(t.Context(), request("b"))
					w.playKubelet("build-uid-b")
				}
				for range 4 {
					w.reconcile("b")
					w.playKubelet("build-uid-b")
				}
				b := w.build("b")
				if _, ok := b.Done(); !ok || b.Status.PodName != "build-uid-b" || b.Status.Image == "" {
					t.Errorf("status %+v", b.Status)
				}
				var pods corev1.PodList
				if err := w.api.List(t.Context(), &pods); err != nil || len(pods.Items) != 1 {
					t.Errorf("%d pods (%v), want 1", len(pods.Items), err)
				}
			})
		}
	}
}

func (w *world) playKubelet(name string) {
	if w.pod(name) != nil {
		w.setPod(name, exportedPod())
	}
}

func TestFailure(t *testing.T) {
	compile := "# hello\n./main.go:3:1: syntax error\nERROR: failed to build: exit status 1\n"
	cases := map[string]struct {
		status  corev1.PodStatus
		log     map[string]string
		reason  string
		message []string
		because string
	}{
		"compile error": {
			status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(51, "Error", "kubelet's tail")), log: map[string]string{"build": compile},
			reason: "BuildFailed", message: []string{"phase build failed (exit code 51)", "./main.go:3:1: syntax error"}, because: "the author needs the compiler's words",
		},
		"log is gone": {
			status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(51, "Error", "./main.go:9: oops")),
			reason: "BuildFailed", message: []string{"./main.go:9: oops"}, because: "the kubelet kept the last lines",
		},
		"fetch": {
			status: after(v1alpha1.PhaseFetch, corev1.PodFailed, done(3, "Error", "pull source: 404")), log: map[string]string{"fetch": "other"},
			reason: "FetchFailed", message: []string{"pull source: 404"}, because: "fetch says its reason itself",
		},
		"nothing detects": {
			status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(buildphase.ExitDetect, "Error", "")),
			reason: "DetectFailed", message: []string{"spec.language"}, because: "a hint says what to do",
		},
		"out of memory": {
			status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(137, "OOMKilled", "")),
			reason: reasonOutOfMemory, message: []string{"more memory"},
		},
		"killed without a reason": {
			status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(137, "Error", "")),
			reason: "BuildFailed", message: []string{"was killed", "more memory"},
		},
		"deadline": {
			status: func() corev1.PodStatus {
				s := after(v1alpha1.PhaseBuild, corev1.PodFailed, done(137, "Error", ""))
				s.Reason = "DeadlineExceeded"
				return s
			}(),
			reason: reasonDeadline, message: []string{"deadlineSeconds", "phase build"},
		},
		"disk": {
			status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: `Usage of EmptyDir volume "layers" exceeds the limit "4Gi".`},
			reason: reasonDiskFull, message: []string{`"layers" exceeds`}, because: "more of the same would not help",
		},
		"no report": {
			status: after(v1alpha1.PhaseExport, corev1.PodSucceeded, done(0, "", "garbage")),
			reason: "ExportFailed", message: []string{"names no image"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aBuild("b"))
			w.logs = c.log
			w.reconcile("b")
			w.setPod("build-uid-b", c.status)
			w.reconcile("b")
			b := w.build("b")
			got := succeeded(b)
			if got.Status != metav1.ConditionFalse || got.Reason != c.reason || b.Status.Image != "" || b.Status.FinishTime == nil {
				t.Fatalf("%+v, want reason %s: %s", got, c.reason, c.because)
			}
			for _, part := range c.message {
				if !strings.Contains(got.Message, part) {
					t.Errorf("message %q lacks %q: %s", got.Message, part, c.because)
				}
			}
			if strings.Contains(got.Message, "ERROR: failed to build") {
				t.Errorf("message %q has noise", got.Message)
			}
			w.reconcile("b")
			recorded := w.build("b").Status
			w.reconcile("b")
			if diff := cmp.Diff(recorded, w.build("b").Status); diff != "" || succeeded(w.build("b")) != got {
				t.Errorf("an ended Build changed:\n%s", diff)
			}
		})
	}
}

func TestLostPodIsRetriedOnce(t *testing.T) {
	evicted := corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}
	for name, lose := range map[string]func(w *world, pod string){
		"evicted": func(w *world, pod string) { w.setPod(pod, evicted) },
		"deleted": func(w *world, pod string) {
			if err := w.api.Delete(w.t.Context(), w.pod(pod)); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aBuild("b"))
			w.reconcile("b")
			lose(w, "build-uid-b")
			w.reconcile("b")
			if got := succeeded(w.build("b")); got.Reason != reasonRetrying {
				t.Fatalf("after the first loss: %+v", got)
			}
			w.reconcile("b")
			if w.pod("build-uid-b-retry") == nil {
				t.Fatal("no second pod was made")
			}
			lose(w, "build-uid-b-retry")
			w.reconcile("b")
			if got := succeeded(w.build("b")); got.Status != metav1.ConditionFalse || got.Reason != reasonPodLost {
				t.Errorf("after the second loss: %+v", got)
			}
		})
	}
}

func TestDeletionRemovesThePodThenTheFinalizer(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.reconcile("b")
	if err := w.api.Delete(t.Context(), w.build("b")); err != nil {
		t.Fatal(err)
	}
	// The process dies between the two: the finalizer must still be there.
	mortal, _ := reconciletest.Mortal(w.api, reconciletest.Crash{At: 2, Done: true})
	if _, err := w.reconciler(mortal).Reconcile(t.Context(), request("b")); !errors.Is(err, reconciletest.ErrDead) {
		t.Fatal(err)
	}
	if w.pod("build-uid-b") != nil || len(w.build("b").Finalizers) != 1 {
		t.Fatal("the pod must go first")
	}
	if got := succeeded(w.build("b")); got.Reason != v1alpha1.ReasonCancelled {
		t.Errorf("before it goes: %+v", got)
	}
	w.reconcile("b")
	if err := w.api.Get(t.Context(), request("b").NamespacedName, &v1alpha1.Build{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Build is still there: %v", err)
	}
}

func TestPodOfAVanishedBuildIsSwept(t *testing.T) {
	b := aBuild("b")
	w := newWorld(t)
	other := incluster.MakePod(aBuild("other"), incluster.Platform{Resources: incluster.DefaultResources()}, "build-uid-other")
	for _, p := range []*corev1.Pod{incluster.MakePod(b, incluster.Platform{Resources: incluster.DefaultResources()}, "build-uid-b"), other} {
		if err := w.api.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	w.reconcile("b")
	if w.pod("build-uid-b") != nil || w.pod("build-uid-other") == nil {
		t.Error("exactly the pod of the vanished Build must go")
	}
}

func TestFinishedPodIsKeptForAWhile(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.reconcile("b")
	w.playKubelet("build-uid-b")
	w.reconcile("b")
	w.time = w.time.Add(59 * time.Minute)
	if result := w.reconcile("b"); result.RequeueAfter != time.Minute || w.pod("build-uid-b") == nil {
		t.Fatalf("after 59 minutes: %+v", result)
	}
	w.time = w.time.Add(time.Minute)
	w.reconcile("b")
	if w.pod("build-uid-b") != nil {
		t.Error("the pod is still there after an hour")
	}
	w.reconcile("b")
	if _, ok := w.build("b").Done(); !ok {
		t.Error("a Build must stay done without its pod")
	}
}

func TestPodThatNeverStartsIsGivenUp(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.reconcile("b")
	w.setPod("build-uid-b", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available: Insufficient memory."}}})
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Reason != reasonWaiting || !strings.Contains(got.Message, "Insufficient memory") {
		t.Fatalf("while it waits: %+v", got)
	}
	w.time = begin.Add(v1alpha1.DefaultBuildDeadline + startGrace)
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Reason != reasonDeadline || !strings.Contains(got.Message, "Insufficient memory") {
		t.Errorf("after the deadline: %+v", got)
	}
	w.reconcile("b")
	if w.pod("build-uid-b") != nil {
		t.Error("the pod of a Build that was given up keeps its place")
	}
}

func TestBuildThatCanNeverWork(t *testing.T) {
	b := aBuild("b")
	b.Spec.BuilderImage = "evil.example/builder@" + digest
	w := newWorld(t, b)
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonInvalid || w.pod("build-uid-b") != nil {
		t.Errorf("%+v", got)
	}
}

func TestWithoutPlatformSettingsABuildWaits(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "knit-system", Name: platformName}}
	if err := w.api.Delete(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if result := w.reconcile("b"); result.RequeueAfter == 0 {
		t.Error("nobody would look again")
	}
	if got := succeeded(w.build("b")); got.Reason != v1alpha1.ReasonPlatformNotFound || !strings.Contains(got.Message, "knit install") {
		t.Errorf("%+v", got)
	}
}

func TestPodsMapToTheirBuilds(t *testing.T) {
	r := newWorld(t).reconciler(nil)
	pod := incluster.MakePod(aBuild("b"), incluster.Platform{Namespace: "knit-builds"}, "x")
	if diff := cmp.Diff([]ctrl.Request{request("b")}, r.buildOfPod(t.Context(), pod)); diff != "" {
		t.Error(diff)
	}
	pod.Namespace = "alice"
	if got := r.buildOfPod(t.Context(), pod); got != nil {
		t.Errorf("a pod of a tenant that pretends to be a build: %v", got)
	}
}

// The kubelet calls a pod succeeded about a second after its last container has
// ended; the image is there before.
func TestImageIsReportedBeforeThePodIsCleared(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.reconcile("b")
	status := exportedPod()
	status.Phase = corev1.PodRunning
	w.setPod("build-uid-b", status)
	w.reconcile("b")
	if b := w.build("b"); succeeded(b).Status != metav1.ConditionTrue || b.Status.Image == "" {
		t.Errorf("status %+v", b.Status)
	}
	w.reconcile("b")
	if w.pod("build-uid-b") == nil {
		t.Error("the pod with the log is gone")
	}
}
