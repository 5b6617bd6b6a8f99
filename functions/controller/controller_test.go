package controller

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

func text(t testing.TB, obj client.Object) string {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	forget(content, "resourceVersion", "creationTimestamp", "lastTransitionTime", "managedFields")
	raw, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func forget(value any, keys ...string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range keys {
			delete(v, key)
		}
		for _, inner := range v {
			forget(inner, keys...)
		}
	case []any:
		for _, inner := range v {
			forget(inner, keys...)
		}
	}
}

func condition(fn *v1alpha1.Function, kind string) string {
	c := meta.FindStatusCondition(fn.Status.Conditions, kind)
	if c == nil {
		return "none"
	}
	return string(c.Status) + " " + c.Reason
}

func TestFromSourceToReady(t *testing.T) {
	w := newWorld(t, function(withBrokers("orders")), platform(), broker("shop", "orders"))
	_, _, err := w.reconcile(reconciletest.Crash{})
	w.must(err)
	if got := condition(w.function(), v1alpha1.ConditionReady); got != "Unknown Building" {
		t.Errorf("at first Ready is %q", got)
	}
	w.settle()
	fn := w.function()
	for _, kind := range []string{"Built", "Deployed", "Wired", "Ready"} {
		if !fn.Holds(kind) {
			t.Errorf("%s is %s", kind, condition(fn, kind))
		}
	}
	want := v1alpha1.FunctionStatus{
		ObservedGeneration: 1, URL: "http://hello.shop.knit.localhost:8080", Address: &v1alpha1.Address{URL: "http://hello.shop.svc.cluster.local"},
		Image: "r:5000/shop/hello@" + digestA, SourceDigest: digestA, LatestReadyRevision: "hello-00001", BuildRef: nameOfBuild(fn),
	}
	got := fn.Status
	if d := got.Decision; d == nil || d.Result != v1alpha1.DecisionReuse || d.Against != want.BuildRef {
		t.Errorf("decision %+v", d)
	}
	got.Conditions, got.Decision = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	var s servingv1.Service
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(fn), &s))
	if image := s.Spec.Template.Spec.Containers[0].Image; image != want.Image || !metav1.IsControlledBy(&s, fn) {
		t.Errorf("image %q, owners %v", image, s.OwnerReferences)
	}
}

// Every write of the whole way may be the last of the process, done or not done;
// the next process must reach the same end.
func TestTheProcessMayDieAtAnyWrite(t *testing.T) {
	start := func(t *testing.T) *world {
		events := withEvents(v1alpha1.EventSource{}, v1alpha1.EventSource{Broker: "orders"}, v1alpha1.EventSource{Channel: "a"}, ping(nil))
		w := newWorld(t, function(events), platform("create-default-broker"), broker("shop", "orders"), broker("shop", "other"), channel("shop", "a"), channel("shop", "b"), definition("true"))
		w.settle()
		// From one settled state to another: a new source, other brokers,
		// another channel, and no more source of events.
		w.change(func(fn *v1alpha1.Function) {
			withSource(digestB)(fn)
			withEvents(v1alpha1.EventSource{}, v1alpha1.EventSource{Broker: "other"}, v1alpha1.EventSource{Channel: "b"})(fn)
		})
		return w
	}
	whole := start(t)
	whole.settle()
	want := whole.dump()
	crashes := 0
	for look := 0; look < 4; look++ {
		for at := 1; ; at++ {
			reached := false
			for _, done := range []bool{false, true} {
				w := start(t)
				for range look {
					_, _, err := w.reconcile(reconciletest.Crash{})
					w.must(err)
					w.others()
				}
				_, writes, _ := w.reconcile(reconciletest.Crash{At: at, Done: done})
				if writes < at {
					continue
				}
				reached = true
				crashes++
				w.settle()
				if diff := cmp.Diff(want, w.dump()); diff != "" {
					t.Errorf("look %d, write %d, done %v (-want +got):\n%s", look, at, done, diff)
				}
			}
			if !reached {
				break
			}
		}
	}
	if crashes < 10 {
		t.Errorf("only %d places to die were tried", crashes)
	}
}

func TestNothingChangedNothingWritten(t *testing.T) {
	w := newWorld(t, function(withBrokers("orders")), platform(), broker("shop", "orders"))
	w.settle()
	before := w.dump()
	for range 3 {
		_, writes, err := w.reconcile(reconciletest.Crash{})
		w.must(err)
		// A new process applies the Service and the Trigger once; the API server
		// sees no change.
		if writes > 2 {
			t.Errorf("%d writes", writes)
		}
	}
	if diff := cmp.Diff(before, w.dump()); diff != "" {
		t.Error(diff)
	}
}

// nameOfBuild is the name of the Build that a Function has made first.
func nameOfBuild(fn *v1alpha1.Function) string {
	return makeBuild(fn, decision.Answer{}, "r:5000/builder@"+digestA).Name
}

func TestABuildIsNamedAfterItsInputs(t *testing.T) {
	first := nameOfBuild(function())
	cases := map[string]struct {
		change option
		same   bool
		reason string
	}{
		"scale":       {func(fn *v1alpha1.Function) { fn.Spec.Scale.Min = new(int32) }, true, "it does not reach the image"},
		"env":         {func(fn *v1alpha1.Function) { fn.Spec.Env = []corev1.EnvVar{{Name: "A"}} }, true, "it is the running function's"},
		"source path": {func(fn *v1alpha1.Function) { fn.Spec.Source.Path = "x" }, true, "the content counts"},
		"source":      {withSource(digestB), false, "other code"},
		"include":     {func(fn *v1alpha1.Function) { fn.Spec.Source.Include = []string{"../shared"} }, true, "what it adds is in the archive's digest"},
		"in archive":  {func(fn *v1alpha1.Function) { fn.Spec.Source.Archive.Path = "fn" }, false, "another folder of the archive is built"},
		"rebuild":     {func(fn *v1alpha1.Function) { fn.Annotations = map[string]string{v1alpha1.AnnotationRebuild: "1"} }, true, "an archive never moves"},
		"language":    {func(fn *v1alpha1.Function) { fn.Spec.Language = v1alpha1.LanguageGo }, false, "another buildpack may be chosen"},
		"builder":     {func(fn *v1alpha1.Function) { fn.Spec.Build.Builder = "paketo" }, false, "other buildpacks"},
		"build env":   {func(fn *v1alpha1.Function) { fn.Spec.Build.Env = []v1alpha1.BuildEnv{{Name: "A"}} }, false, "buildpacks read it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if same := nameOfBuild(function(c.change)) == first; same != c.same {
				t.Errorf("same build %v, want %v: %s", same, c.same, c.reason)
			}
		})
	}
	env := func(names ...string) string {
		return nameOfBuild(function(func(fn *v1alpha1.Function) {
			for _, n := range names {
				fn.Spec.Build.Env = append(fn.Spec.Build.Env, v1alpha1.BuildEnv{Name: n})
			}
		}))
	}
	if env("A", "B") != env("B", "A") {
		t.Error("the order of variables makes another build")
	}
}

func TestABuildFromGitIsNamedAfterItsInputs(t *testing.T) {
	first := nameOfBuild(function(withGit("https://git.example.com/a")))
	git := func(change func(*v1alpha1.Function)) string {
		return nameOfBuild(function(withGit("https://git.example.com/a"), change))
	}
	cases := map[string]struct {
		name   string
		same   bool
		reason string
	}{
		"again":      {git(func(*v1alpha1.Function) {}), true, "a branch is not looked at again by itself"},
		"url":        {nameOfBuild(function(withGit("https://git.example.com/b"))), false, "another repository"},
		"revision":   {git(func(fn *v1alpha1.Function) { fn.Spec.Source.Git.Revision = "v2" }), false, "another commit"},
		"path":       {git(func(fn *v1alpha1.Function) { fn.Spec.Source.Git.Path = "fn" }), false, "another folder"},
		"submodules": {git(func(fn *v1alpha1.Function) { fn.Spec.Source.Git.Submodules = true }), false, "more code"},
		"include":    {git(func(fn *v1alpha1.Function) { fn.Spec.Source.Include = []string{"lib"} }), false, "more code"},
		"secret":     {git(func(fn *v1alpha1.Function) { fn.Spec.Source.Git.SecretName = "x" }), false, "the one before may have failed for it"},
		"scale":      {git(func(fn *v1alpha1.Function) { fn.Spec.Scale.Min = new(int32) }), true, "it does not reach the image"},
		"rebuild":    {git(func(fn *v1alpha1.Function) { fn.Annotations = map[string]string{v1alpha1.AnnotationRebuild: "1"} }), false, "somebody asks for another look"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if same := c.name == first; same != c.same {
				t.Errorf("same build %v, want %v: %s", same, c.same, c.reason)
			}
		})
	}
}

func TestFromGitToReady(t *testing.T) {
	w := newWorld(t, function(withGit("https://git.example.com/a")), platform())
	w.settle()
	fn := w.function()
	if !fn.Holds("Ready") || fn.Status.SourceRevision != revisionA || fn.Status.SourceDigest != digestB {
		t.Fatalf("Ready is %s, status %+v", condition(fn, "Ready"), fn.Status)
	}
	var b v1alpha1.Build
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: fn.Status.BuildRef}, &b))
	if b.Spec.Source.Git == nil || b.Spec.Source.Git.URL != "https://git.example.com/a" || b.Spec.Source.Archive.Digest != "" {
		t.Errorf("the Build has the source %+v", b.Spec.Source)
	}
	var s servingv1.Service
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(fn), &s))
	if c := s.Spec.Template.Spec.Containers[0]; !*c.SecurityContext.RunAsNonRoot {
		t.Error("what Knit built must not run as root")
	}
	// Another look at the branch, without any other change.
	before := fn.Status.BuildRef
	fn.Annotations = map[string]string{v1alpha1.AnnotationRebuild: "now"}
	w.must(w.Update(t.Context(), fn))
	w.settle()
	if fn := w.function(); !fn.Holds("Ready") || fn.Status.BuildRef == before || fn.Status.ObservedRebuild != "now" {
		t.Errorf("Ready is %s, Build %s as before", condition(fn, "Ready"), fn.Status.BuildRef)
	}
}

func TestAnAddressThatNobodyGoesToIsShown(t *testing.T) {
	for _, url := range []string{"file:///etc", "https://127.0.0.1/x", "https://169.254.169.254/latest", "https://localhost/x"} {
		w := newWorld(t, function(withGit(url)), platform())
		w.settle()
		var builds v1alpha1.BuildList
		w.must(w.List(t.Context(), &builds))
		if got := condition(w.function(), "Ready"); got != "False Invalid" || len(builds.Items) != 0 {
			t.Errorf("%s: Ready is %s, %d Builds", url, got, len(builds.Items))
		}
	}
}

func TestAGivenImageIsNotBuilt(t *testing.T) {
	w := newWorld(t, function(withImage("ghcr.io/a/b:v1")))
	w.settle()
	var builds v1alpha1.BuildList
	w.must(w.List(t.Context(), &builds))
	if fn := w.function(); !fn.Holds("Ready") || len(builds.Items) != 0 || fn.Status.Image != "ghcr.io/a/b:v1" {
		t.Errorf("%d builds, status %+v", len(builds.Items), fn.Status)
	}
}

func TestAFailedBuildKeepsTheOldRevision(t *testing.T) {
	w := newWorld(t, function(), platform())
	w.settle()
	w.buildFails = true
	w.change(withSource(digestB))
	w.settle()
	fn := w.function()
	if got := condition(fn, "Ready"); got != "False build" {
		t.Errorf("Ready is %q", got)
	}
	if fn.Status.URL == "" || fn.Status.LatestReadyRevision != "hello-00001" {
		t.Errorf("what still answers is not shown: %+v", fn.Status)
	}
	var s servingv1.Service
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(fn), &s))
	if image := s.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, digestA) {
		t.Errorf("the Service runs %q", image)
	}
	// Deleting the Build is how a person asks for another try.
	w.buildFails = false
	w.must(w.Delete(t.Context(), &v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fn.Status.BuildRef}}))
	w.settle()
	if fn := w.function(); !fn.Holds("Ready") || !strings.HasSuffix(fn.Status.Image, digestB) {
		t.Errorf("after another try: %s, image %q", condition(fn, "Ready"), fn.Status.Image)
	}
}

func TestWhatIsMissingIsNamedAndHeals(t *testing.T) {
	cases := map[string]struct {
		fn     *v1alpha1.Function
		have   []client.Object
		heal   client.Object
		status string
		text   string
	}{
		"platform":       {fn: function(), heal: platform(), status: "False PlatformNotFound", text: "knit install"},
		"broker":         {fn: function(withImage("i"), withBrokers("orders")), heal: broker("shop", "orders"), status: "False BrokerNotFound", text: "shop/orders"},
		"channel":        {fn: function(withImage("i"), withEvents(v1alpha1.EventSource{Channel: "orders"})), heal: channel("shop", "orders"), status: "False ChannelNotFound", text: "shop/orders"},
		"default broker": {fn: function(withImage("i"), withBrokers("")), have: []client.Object{platform()}, heal: broker("shop", "default"), status: "False BrokerNotFound", text: "shop/default"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append(c.have, c.fn)...)
			w.settle()
			ready := meta.FindStatusCondition(w.function().Status.Conditions, "Ready")
			if got := string(ready.Status) + " " + ready.Reason; got != c.status || !strings.Contains(ready.Message, c.text) {
				t.Errorf("Ready is %s %q, want %s with %q", got, ready.Message, c.status, c.text)
			}
			w.must(w.Create(t.Context(), c.heal))
			w.settle()
			if fn := w.function(); !fn.Holds("Ready") {
				t.Errorf("it does not heal: %s", condition(fn, "Ready"))
			}
		})
	}
}

func TestTheDefaultBrokerIsMadeWhereThePlatformAllows(t *testing.T) {
	w := newWorld(t, function(withImage("i"), withBrokers("")), platform("create-default-broker"))
	w.settle()
	var b eventingv1.Broker
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "default"}, &b))
	if len(b.OwnerReferences) != 0 || !w.function().Holds("Ready") {
		t.Errorf("owners %v, Ready %s", b.OwnerReferences, condition(w.function(), "Ready"))
	}
}

func TestWhatBelongsToOthersIsLeftAlone(t *testing.T) {
	service := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hello", Labels: map[string]string{"by": "hand"}}}
	w := newWorld(t, function(withImage("i")), service)
	result, _, err := w.reconcile(reconciletest.Crash{})
	w.must(err)
	if got := condition(w.function(), "Ready"); got != "False NameTaken" || result.RequeueAfter == 0 {
		t.Errorf("Ready is %s, looked at again after %v", got, result.RequeueAfter)
	}
	var after servingv1.Service
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(service), &after))
	if len(after.OwnerReferences) != 0 || after.Labels["by"] != "hand" || len(after.Spec.Template.Spec.Containers) != 0 {
		t.Errorf("somebody's Service was changed: %+v", after.ObjectMeta)
	}
	trigger := &eventingv1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "by-hand", Labels: map[string]string{v1alpha1.LabelFunction: "hello"}}}
	w = newWorld(t, function(withImage("i")), trigger)
	w.settle()
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(trigger), trigger))
}

func TestInvalidIsShownAndNotTriedAgain(t *testing.T) {
	w := newWorld(t, function(func(fn *v1alpha1.Function) { fn.Spec.Timeout = &metav1.Duration{} }))
	result, _, err := w.reconcile(reconciletest.Crash{})
	if err != nil || result.RequeueAfter != 0 {
		t.Errorf("result %v, error %v", result, err)
	}
	if got := condition(w.function(), "Ready"); got != "False Invalid" {
		t.Errorf("Ready is %s", got)
	}
}

func TestDeployedIsAboutThePresentGeneration(t *testing.T) {
	ready := func(status corev1.ConditionStatus, reason string) duckv1.Conditions {
		return duckv1.Conditions{{Type: apis.ConditionReady, Status: status, Reason: reason}}
	}
	cases := map[string]struct {
		generation, observed int64
		conditions           duckv1.Conditions
		want                 string
	}{
		"new":          {1, 0, nil, "Unknown Deploying"},
		"older":        {2, 1, ready(corev1.ConditionTrue, ""), "Unknown Deploying"},
		"ready":        {2, 2, ready(corev1.ConditionTrue, ""), "True Succeeded"},
		"failed":       {2, 2, ready(corev1.ConditionFalse, "RevisionFailed"), "False RevisionFailed"},
		"odd reason":   {2, 2, ready(corev1.ConditionFalse, "not a reason"), "False NotReady"},
		"being rolled": {2, 2, ready(corev1.ConditionUnknown, ""), "Unknown Deploying"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Generation: c.generation}}
			s.Status.ObservedGeneration, s.Status.Conditions = c.observed, c.conditions
			got := deployed(s)
			if got := string(got.Status) + " " + got.Reason; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestWhichBuildsGo(t *testing.T) {
	build := func(name string, age time.Duration, status metav1.ConditionStatus, options ...func(*v1alpha1.Build)) v1alpha1.Build {
		b := v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_000_000, 0).Add(-age * time.Second))}}
		b.Spec.Source.Archive.Digest = name
		b.Set(metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: "X"})
		for _, o := range options {
			o(&b)
		}
		return b
	}
	made := func(b *v1alpha1.Build) { b.Name = buildName(b.Spec) }
	reused := func(b *v1alpha1.Build) { b.Status.ReusedFrom = "x" }
	const yes, no, running = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	cases := map[string]struct {
		builds    []v1alpha1.Build
		use, next int // index, or -1
		want      []string
		reason    string
	}{
		"few":           {[]v1alpha1.Build{build("a", 1, yes), build("b", 2, no)}, 0, -1, nil, "history"},
		"many":          {[]v1alpha1.Build{build("d", 4, yes), build("a", 1, yes), build("c", 3, no), build("b", 2, yes)}, 1, -1, []string{"d"}, "the oldest goes"},
		"old is wanted": {[]v1alpha1.Build{build("d", 4, yes), build("a", 1, yes), build("c", 3, no), build("b", 2, yes)}, 0, -1, []string{"c"}, "a source that came back keeps its build"},
		"on its way":    {[]v1alpha1.Build{build("d", 4, no), build("a", 1, yes), build("c", 3, no)}, 1, 0, nil, "what failed toward the wanted image says so"},
		"superseded":    {[]v1alpha1.Build{build("a", 1, running), build("b", 2, running, made)}, -1, 0, []string{"b"}, "nobody waits for it"},
		"asked for":     {[]v1alpha1.Build{build("a", 1, running), build("b", 2, running)}, -1, 0, nil, "a person waits for it"},
		"image given":   {[]v1alpha1.Build{build("a", 1, yes), build("b", 2, running, made)}, -1, -1, []string{"b"}, "nothing is built now"},
		"reused": {[]v1alpha1.Build{build("a", 1, yes, reused), build("b", 2, yes, reused), build("c", 3, yes)}, -1, -1, []string{"b"},
			"what only took over an image must not push out the history"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var answer decision.Answer
			if c.use >= 0 {
				answer.Use = &c.builds[c.use]
			}
			if c.next >= 0 {
				answer.Next = &c.builds[c.next]
			}
			var got []string
			for _, b := range disposable(c.builds, answer, 2) {
				got = append(got, b.Spec.Source.Archive.Digest)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestServiceOfAFunction(t *testing.T) {
	number := func(n int32) *int32 { return &n }
	fn := function(func(fn *v1alpha1.Function) {
		fn.Spec.Visibility = v1alpha1.VisibilityClusterLocal
		fn.Spec.Timeout = &metav1.Duration{Duration: 1500 * time.Millisecond}
		fn.Spec.Scale = v1alpha1.Scale{Min: number(1), Max: number(3), Metric: v1alpha1.MetricRPS, Target: number(50), IdleAfter: &metav1.Duration{Duration: time.Minute}}
	})
	fn.Status.SourceDigest = digestA
	fn.Status.Image = "image"
	s := makeService(fn, "", "")
	want := map[string]string{
		"autoscaling.knative.dev/min-scale": "1", "autoscaling.knative.dev/max-scale": "3", "autoscaling.knative.dev/metric": "rps",
		"autoscaling.knative.dev/target": "50", "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "1m0s",
	}
	if diff := cmp.Diff(want, s.Spec.Template.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if *s.Spec.Template.Spec.TimeoutSeconds != 2 || s.Labels["networking.knative.dev/visibility"] != "cluster-local" {
		t.Errorf("timeout %d, labels %v", *s.Spec.Template.Spec.TimeoutSeconds, s.Labels)
	}
	c := s.Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff([]corev1.EnvVar{{Name: "KNIT_TIMEOUT", Value: "2s"}, {Name: "KNIT_NAMESPACE", Value: fn.Namespace}}, c.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(*c.SecurityContext.RunAsNonRoot, *s.Spec.Template.Spec.AutomountServiceAccountToken); got != "true false" {
		t.Errorf("rights: %s", got)
	}
	if c := makeService(function(withImage("i")), "", "").Spec.Template.Spec.Containers[0]; c.SecurityContext.RunAsNonRoot != nil {
		t.Error("a given image must run as the user that it says")
	}
}
