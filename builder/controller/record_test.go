package controller

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// push puts an image with labels and variables into the registry.
func (w *world) push(reference string, size int64, config v1.Config) string {
	w.t.Helper()
	image, err := random.Image(size, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	if image, err = mutate.Config(image, config); err != nil {
		w.t.Fatal(err)
	}
	repository, tag, _ := strings.Cut(reference, ":")
	pushed, err := w.images.Push(w.t.Context(), repository, image, tag)
	if err != nil {
		w.t.Fatal(err)
	}
	return pushed.String()
}

// onBase is the config of an image that the lifecycle exported.
func onBase(runImage string) v1.Config {
	label, _ := json.Marshal(map[string]any{"runImage": map[string]string{"reference": runImage}})
	return v1.Config{Labels: map[string]string{"io.buildpacks.lifecycle.metadata": string(label)}}
}

// built takes a Build through a pod that exports the image.
func (w *world) built(b, image string) *v1alpha1.Build {
	w.t.Helper()
	w.reconcile(b)
	_, digest, _ := strings.Cut(image, "@")
	w.setPod("build-uid-"+b, after(v1alpha1.PhaseExport, corev1.PodSucceeded, done(0, "Completed", fmt.Sprintf("[image]\n  digest = %q\n", digest))))
	w.reconcile(b)
	return w.build(b)
}

// keptLog reads a log back from the registry; "" when there is none.
func (w *world) keptLog(reference string) string {
	w.t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		w.t.Fatal(err)
	}
	options, done := w.images.Remote(w.t.Context())
	defer done()
	image, err := remote.Image(tag, options...)
	if err != nil {
		return ""
	}
	layers, err := image.Layers()
	if err != nil {
		w.t.Fatal(err)
	}
	text := ""
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			w.t.Fatal(err)
		}
		raw, err := io.ReadAll(content)
		if err != nil {
			w.t.Fatal(err)
		}
		text += string(raw)
	}
	return text
}

func TestWhatABuildLeavesIsRecorded(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	base := w.images.Host + "/knit/run-static@" + digest
	image := w.push("alice/hello:latest", 100, onBase(base))
	w.push("alice/hello/cache:latest", 1000, v1.Config{})
	w.logs["build"], w.logs["export"] = "compiling\n", "exporting\n"
	w.built("b", image)
	w.reconcile("b")
	b := w.build("b")
	if b.Status.RunImage != base || b.Status.BuilderImage != w.images.Host+"/knit/builder@"+digest || b.Status.CacheBytes == nil || *b.Status.CacheBytes < 1000 {
		t.Errorf("status %+v", b.Status)
	}
	if b.Status.Log == nil || b.Status.Log.Truncated || b.Status.Log.Bytes != int64(len("compiling\nexporting\n")) {
		t.Fatalf("log %+v", b.Status.Log)
	}
	if got := w.keptLog(b.Status.Log.Reference); got != "compiling\nexporting\n" {
		t.Errorf("kept %q", got)
	}
	// The pod is gone, the log is not; it goes with the Build.
	w.time = w.time.Add(2 * time.Hour)
	w.reconcile("b")
	if w.pod("build-uid-b") != nil || w.keptLog(b.Status.Log.Reference) == "" {
		t.Error("after the pod's time its log must still be there")
	}
	if err := w.api.Delete(t.Context(), w.build("b")); err != nil {
		t.Fatal(err)
	}
	w.reconcile("b")
	if got := w.keptLog(b.Status.Log.Reference); got != "" {
		t.Errorf("the Build is gone and its log is not: %q", got)
	}
}

func TestACacheOverItsLimitIsDropped(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.set("build-cache-limit", "1k")
	w.push("alice/hello/cache:latest", 5000, v1.Config{})
	w.logs["export"] = "exporting\n"
	w.built("b", w.push("alice/hello:latest", 10, onBase("")))
	w.reconcile("b")
	b := w.build("b")
	if _, ok := b.Done(); !ok || b.Status.CacheBytes == nil || *b.Status.CacheBytes != 0 {
		t.Fatalf("status %+v", b.Status)
	}
	if got := w.keptLog(b.Status.Log.Reference); !strings.Contains(got, "more than the limit of 1000") || !strings.Contains(got, "build-cache-limit") {
		t.Errorf("the log does not say so: %q", got)
	}
	if size, err := w.client().Size(t.Context(), w.images.Host+"/alice/hello/cache:latest"); err != nil || size > 500 {
		t.Errorf("the cache has %d bytes: %v", size, err)
	}
}

func TestALongLogKeepsItsEnd(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.set("build-log-limit", "100")
	w.logs["build"], w.logs["export"] = strings.Repeat("x", 500)+"the end\n", "exporting\n"
	w.built("b", w.push("alice/hello:latest", 10, onBase("")))
	w.reconcile("b")
	b := w.build("b")
	text := w.keptLog(b.Status.Log.Reference)
	if !b.Status.Log.Truncated || !strings.Contains(text, "the end\nexporting\n") || len(text) > 200 {
		t.Errorf("%+v: %q", b.Status.Log, text)
	}
}

func TestANamespaceKeepsSoManyLogs(t *testing.T) {
	w := newWorld(t, aBuild("b1"), aBuild("b2"), aBuild("b3"))
	w.set("build-logs-per-namespace", "2")
	w.logs["build"] = "text\n"
	var references []string
	for i, name := range []string{"b1", "b2", "b3"} {
		b := w.build(name)
		b.Spec.Force = true // Equal inputs would be built once.
		b.CreationTimestamp = metav1.NewTime(begin.Add(time.Duration(i) * time.Minute))
		if err := w.api.Update(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.built(name, w.push("alice/hello:latest", 10, onBase("")))
		w.reconcile(name)
		references = append(references, w.build(name).Status.Log.Reference)
	}
	if w.build("b1").Status.Log != nil || w.keptLog(references[0]) != "" || w.build("b2").Status.Log == nil || w.keptLog(references[2]) == "" {
		t.Error("exactly the oldest log must go")
	}
}

func TestEqualInputsAreBuiltOnce(t *testing.T) {
	w := newWorld(t, aBuild("a"))
	image := w.push("alice/hello:latest", 10, onBase(""))
	first := w.built("a", image)
	if d := first.Status.Decision; d == nil || d.Result != v1alpha1.DecisionBuild || first.Status.Inputs == nil {
		t.Errorf("decision %+v", d)
	}
	again := aBuild("b")
	again.CreationTimestamp = metav1.NewTime(begin.Add(time.Minute))
	forced := aBuild("c")
	forced.CreationTimestamp, forced.Spec.Force = again.CreationTimestamp, true
	for _, b := range []*v1alpha1.Build{again, forced} {
		if err := w.api.Create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.reconcile(b.Name)
	}
	b := w.build("b")
	if _, ok := b.Done(); !ok || b.Status.Image != image || b.Status.ReusedFrom != "a" || b.Status.Decision.Result != v1alpha1.DecisionReuse || w.pod("build-uid-b") != nil {
		t.Errorf("status %+v", b.Status)
	}
	if w.pod("build-uid-c") == nil || w.build("c").Status.Decision.Reason != "it was asked for" {
		t.Errorf("a forced Build: %+v", w.build("c").Status)
	}
}

func TestCancelLeavesACancelledBuild(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.logs["build"] = "half\n"
	w.reconcile("b")
	w.setPod("build-uid-b", after(v1alpha1.PhaseBuild, corev1.PodRunning, running()))
	w.reconcile("b")
	b := w.build("b")
	b.Annotations = map[string]string{v1alpha1.AnnotationCancel: "yes"}
	if err := w.api.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.reconcile("b")
	w.reconcile("b")
	b = w.build("b")
	if got := succeeded(b); got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonCancelled {
		t.Errorf("%+v", got)
	}
	if w.pod("build-uid-b") != nil {
		t.Error("its pod still runs")
	}
	if got := w.keptLog(b.Status.Log.Reference); got != "half\n" {
		t.Errorf("what it said is lost: %q", got)
	}
}

func aRebase(name, imageDigest, runImage string) *v1alpha1.Build {
	b := aBuild(name)
	b.Spec.Rebase = &v1alpha1.BuildRebase{Digest: imageDigest, RunImage: runImage}
	return b
}

func TestRebase(t *testing.T) {
	w := newWorld(t)
	oldBase := w.push("knit/run-static:old", 10, v1.Config{})
	newBase := w.push("knit/run-static:latest", 20, v1.Config{})
	w.push("bob/secret:latest", 30, v1.Config{})
	digestOf := func(image string) string { _, d, _ := strings.Cut(image, "@"); return d }
	image := digestOf(w.push("alice/hello:latest", 40, onBase(oldBase)))
	current := digestOf(w.push("alice/hello:current", 50, onBase(newBase)))
	fixed := onBase(oldBase)
	fixed.Labels["io.buildpacks.rebasable"] = "false"
	extended := digestOf(w.push("alice/hello:extended", 60, fixed))
	cases := map[string]struct {
		build           *v1alpha1.Build
		status          metav1.ConditionStatus
		reason, message string
		run             string // in the pod; "" when there is none
	}{
		"newest":          {build: aRebase("newest", image, ""), status: metav1.ConditionUnknown, reason: reasonRunning, run: newBase},
		"named":           {build: aRebase("named", image, w.images.Host+"/knit/run-static:old"), status: metav1.ConditionTrue, reason: "Succeeded"},
		"on it already":   {build: aRebase("current", current, ""), status: metav1.ConditionTrue, reason: "Succeeded"},
		"another's image": {build: aRebase("theft", image, w.images.Host+"/bob/secret:latest"), status: metav1.ConditionFalse, reason: "Invalid", message: "allowed-run-images"},
		"unknown base":    {build: aRebase("unknown", image, w.images.Host+"/knit/run-none:latest"), status: metav1.ConditionFalse, reason: "Invalid", message: "not in its registry"},
		"unknown image":   {build: aRebase("gone", digest, ""), status: metav1.ConditionFalse, reason: "Invalid", message: "build it again"},
		"cannot be":       {build: aRebase("extended", extended, ""), status: metav1.ConditionFalse, reason: "Invalid", message: "cannot be put on another base"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := w.api.Create(t.Context(), c.build); err != nil {
				t.Fatal(err)
			}
			w.reconcile(c.build.Name)
			b := w.build(c.build.Name)
			if got := succeeded(b); got.Status != c.status || got.Reason != c.reason || !strings.Contains(got.Message, c.message) {
				t.Errorf("%+v", got)
			}
			pod := w.pod("build-uid-" + c.build.Name)
			if c.run == "" {
				if pod != nil {
					t.Error("a pod runs")
				}
				return
			}
			if args := strings.Join(pod.Spec.Containers[0].Args, " "); !strings.Contains(args, "-run-image "+c.run+" ") || b.Status.RunImage != c.run {
				t.Errorf("args %s, base %s", args, b.Status.RunImage)
			}
		})
	}
}

func TestARebasesReportIsRead(t *testing.T) {
	w := newWorld(t)
	w.push("knit/run-static:latest", 20, v1.Config{})
	_, image, _ := strings.Cut(w.push("alice/hello:latest", 40, onBase(w.images.Host+"/knit/run-static@"+digest)), "@")
	if err := w.api.Create(t.Context(), aRebase("b", image, "")); err != nil {
		t.Fatal(err)
	}
	w.reconcile("b")
	status := corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{Name: "rebase", State: done(0, "Completed", report)}}}
	w.setPod("build-uid-b", status)
	w.reconcile("b")
	if b := w.build("b"); b.Status.Image != w.images.Host+"/alice/hello@"+digest || len(b.Status.Phases) != 2 || b.Status.Phases[1].State != v1alpha1.PhaseSucceeded {
		t.Errorf("status %+v", b.Status)
	}
}

func TestAnotherBuilderIsReadAndChecked(t *testing.T) {
	label := func(apis string) map[string]string {
		return map[string]string{"io.buildpacks.builder.metadata": `{"images":[{"image":"run.example/base:1"}],"lifecycle":{"apis":{"platform":{"supported":[` + apis + `]}}}}`}
	}
	users := []string{"CNB_USER_ID=1001", "CNB_GROUP_ID=1002"}
	cases := map[string]struct {
		config v1.Config
		reason string
		want   string // of the message; "" when the pod is made
	}{
		"good":        {config: v1.Config{Env: users, Labels: label(`"0.11","0.12"`)}, reason: reasonRunning},
		"root":        {config: v1.Config{Env: []string{"CNB_USER_ID=0", "CNB_GROUP_ID=0"}, Labels: label(`"0.12"`)}, reason: reasonWaiting, want: "never run as root"},
		"no users":    {config: v1.Config{Labels: label(`"0.12"`)}, reason: reasonWaiting, want: "CNB_USER_ID"},
		"no builder":  {config: v1.Config{Env: users}, reason: reasonWaiting, want: "is it a builder"},
		"too old":     {config: v1.Config{Env: users, Labels: label(`"0.3"`)}, reason: v1alpha1.ReasonInvalid, want: "newer builder"},
		"not allowed": {reason: v1alpha1.ReasonInvalid, want: "allowed-builders"},
		"base of another tenant": {
			config: v1.Config{Env: users, Labels: map[string]string{"io.buildpacks.builder.metadata": strings.ReplaceAll(label(`"0.12"`)["io.buildpacks.builder.metadata"], "run.example/base:1", "REGISTRY/bob/secret:1")}},
			reason: v1alpha1.ReasonInvalid, want: "allowed-run-images",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := aBuild("b")
			w := newWorld(t)
			b.Spec.BuilderImage = w.images.Host + "/paketo/builder:latest"
			if name != "not allowed" {
				w.set("allowed-builders", w.images.Host+"/paketo/*")
			}
			for key, value := range c.config.Labels {
				c.config.Labels[key] = strings.ReplaceAll(value, "REGISTRY", w.images.Host)
			}
			w.push("paketo/builder:latest", 10, c.config)
			if err := w.api.Create(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			w.reconcile("b")
			got := succeeded(w.build("b"))
			if got.Reason != c.reason || !strings.Contains(got.Message, c.want) {
				t.Fatalf("%+v", got)
			}
			pod := w.pod("build-uid-b")
			if (pod != nil) != (c.want == "") {
				t.Fatalf("pod %v", pod)
			}
			if pod == nil {
				return
			}
			if user := *pod.Spec.InitContainers[2].SecurityContext.RunAsUser; user != 1001 || !strings.Contains(pod.Spec.InitContainers[2].Image, "/paketo/builder@sha256:") {
				t.Errorf("detect runs as %d from %s", user, pod.Spec.InitContainers[2].Image)
			}
		})
	}
}

func TestWrongSettingsAreAClearCondition(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.set("build-memory", "lots")
	w.set("http-proxy", "secret:word@proxy")
	if result := w.reconcile("b"); result.RequeueAfter == 0 {
		t.Error("nobody would look again")
	}
	got := succeeded(w.build("b"))
	if got.Reason != v1alpha1.ReasonPlatformInvalid || !strings.Contains(got.Message, "build-memory") || !strings.Contains(got.Message, "http-proxy") || strings.Contains(got.Message, "secret:word") {
		t.Errorf("%+v", got)
	}
	w.set("build-memory", "1Gi")
	w.set("http-proxy", "http://proxy:3128")
	w.reconcile("b")
	pod := w.pod("build-uid-b")
	if pod == nil || pod.Spec.Containers[0].Resources.Limits.Memory().String() != "1Gi" {
		t.Errorf("it does not heal: %+v", succeeded(w.build("b")))
	}
}

func TestTheDeadlineOfThePlatformHolds(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.set("build-deadline", "2m")
	w.reconcile("b")
	w.setPod("build-uid-b", after(v1alpha1.PhaseBuild, corev1.PodRunning, running()))
	if got := *w.pod("build-uid-b").Spec.ActiveDeadlineSeconds; got != 120 {
		t.Errorf("the node's clock: %d s", got)
	}
	w.time = begin.Add(2*time.Minute + startGrace)
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Reason != reasonDeadline {
		t.Errorf("%+v", got)
	}
}

func TestBuildsOfNobodyAreKeptToANumber(t *testing.T) {
	w := newWorld(t)
	w.set("keep-builds", "2")
	for i := range 4 {
		b := aBuild(fmt.Sprint("b", i))
		b.CreationTimestamp = metav1.NewTime(begin.Add(time.Duration(i) * time.Minute))
		b.Spec.Source.Archive.Digest = "sha256:" + strings.Repeat(fmt.Sprint(i), 64)
		if err := w.api.Create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.built(b.Name, w.push("alice/hello:latest", 10, onBase("")))
		w.reconcile(b.Name)
		w.time = w.time.Add(time.Minute)
	}
	var left v1alpha1.BuildList
	if err := w.api.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, b := range left.Items {
		if b.DeletionTimestamp.IsZero() {
			names += b.Name + " "
		}
	}
	if names != "b2 b3 " {
		t.Errorf("left: %s", names)
	}
}

func TestRecordingFailsForAWhile(t *testing.T) {
	w := newWorld(t, aBuild("b"))
	w.built("b", w.push("alice/hello:latest", 10, onBase("")))
	w.set("registry", "127.0.0.1:1")
	if _, err := w.reconciler(w.api).Reconcile(t.Context(), request("b")); err == nil {
		t.Error("a registry that is away is tried again")
	}
	if _, ok := w.build("b").Done(); !ok || w.pod("build-uid-b") == nil {
		t.Error("meanwhile the Build stays done and its pod, with the log, stays")
	}
	w.set("registry", w.images.Host)
	w.reconcile("b")
	if c := meta.FindStatusCondition(w.build("b").Status.Conditions, v1alpha1.ConditionRecorded); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("recorded: %+v", c)
	}
}
