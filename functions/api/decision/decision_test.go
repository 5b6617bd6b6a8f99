package decision

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	builderA = "r/builder@sha256:aa"
	builderB = "r/builder@sha256:bb"
	baseA    = "r/run-static@sha256:aa"
	baseB    = "r/run-static@sha256:bb"
	imageA   = "r/shop/hello@sha256:11"
)

type change func(*v1alpha1.Build)

// made is a Build of the given age in minutes that has succeeded.
func made(name string, age int, changes ...change) v1alpha1.Build {
	b := v1alpha1.Build{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-time.Duration(age) * time.Minute))}}
	b.Spec = v1alpha1.BuildSpec{Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: "A"}}, BuilderImage: builderA}
	b.Status.Image, b.Status.RunImage = imageA, baseA
	b.Set(v1alpha1.True(v1alpha1.ConditionSucceeded, "Succeeded", ""))
	for _, c := range changes {
		c(&b)
	}
	return b
}

func source(digest string) change {
	return func(b *v1alpha1.Build) { b.Spec.Source.Archive.Digest = digest }
}
func builder(image string) change { return func(b *v1alpha1.Build) { b.Spec.BuilderImage = image } }
func language(l string) change {
	return func(b *v1alpha1.Build) { b.Spec.Language = v1alpha1.Language(l) }
}
func env(pairs ...string) change {
	return func(b *v1alpha1.Build) {
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			b.Spec.Env = append(b.Spec.Env, v1alpha1.BuildEnv{Name: name, Value: value})
		}
	}
}
func failed(b *v1alpha1.Build) {
	b.Status.Image = ""
	b.Set(v1alpha1.False(v1alpha1.ConditionSucceeded, "BuildFailed", ""))
}
func runs(b *v1alpha1.Build) {
	b.Status.Image = ""
	b.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, "Running", ""))
}
func rebasedTo(base string) change {
	return func(b *v1alpha1.Build) {
		b.Spec.Rebase = &v1alpha1.BuildRebase{Digest: "sha256:11", RunImage: base}
		b.Status.Image, b.Status.RunImage = "r/shop/hello@sha256:22", base
	}
}

func TestDecide(t *testing.T) {
	const reuse, rebase, build = v1alpha1.DecisionReuse, v1alpha1.DecisionRebase, v1alpha1.DecisionBuild
	cases := map[string]struct {
		want      change // what is wanted besides source A and builder A
		builds    []v1alpha1.Build
		bases     []string
		keep      bool // rebuild-on-new-builder is off
		result    v1alpha1.DecisionResult
		reason    string
		use, next string
		because   string
	}{
		"first":                    {result: build, reason: "no earlier build"},
		"nothing changed":          {builds: []v1alpha1.Build{made("a", 1)}, result: reuse, reason: "nothing changed", use: "a"},
		"source":                   {want: source("B"), builds: []v1alpha1.Build{made("a", 1)}, result: build, reason: "the source changed"},
		"source came back":         {builds: []v1alpha1.Build{made("b", 1, source("B")), made("a", 2)}, result: reuse, use: "a", reason: "nothing changed"},
		"language":                 {want: language("go"), builds: []v1alpha1.Build{made("a", 1)}, result: build, reason: "the language changed"},
		"env":                      {want: env("X=1"), builds: []v1alpha1.Build{made("a", 1)}, result: build, reason: "the env changed"},
		"order of env":             {want: env("Y=2", "X=1"), builds: []v1alpha1.Build{made("a", 1, env("X=1", "Y=2"))}, result: reuse, use: "a", reason: "nothing changed"},
		"source and env":           {want: func(b *v1alpha1.Build) { source("B")(b); env("X=1")(b) }, builds: []v1alpha1.Build{made("a", 1)}, result: build, reason: "the source changed", because: "the first check that differs decides"},
		"builder":                  {want: builder(builderB), builds: []v1alpha1.Build{made("a", 1)}, result: build, reason: "the builder changed", use: "a"},
		"builder, kept":            {want: builder(builderB), builds: []v1alpha1.Build{made("a", 1)}, keep: true, result: reuse, use: "a", reason: "rebuild-on-new-builder is off"},
		"builder and source, kept": {want: func(b *v1alpha1.Build) { builder(builderB)(b); source("B")(b) }, builds: []v1alpha1.Build{made("a", 1)}, keep: true, result: build, reason: "the source changed"},
		"builder, under way":       {want: builder(builderB), builds: []v1alpha1.Build{made("b", 1, builder(builderB), runs), made("a", 2)}, result: build, use: "a", next: "b", reason: "the builder changed"},
		"builder, failed":          {want: builder(builderB), builds: []v1alpha1.Build{made("b", 1, builder(builderB), failed), made("a", 2)}, result: build, use: "a", next: "b", reason: "the builder changed", because: "it is not tried again by itself"},
		"under way":                {builds: []v1alpha1.Build{made("a", 1, runs)}, result: build, next: "a", reason: "no earlier build"},
		"failed":                   {builds: []v1alpha1.Build{made("a", 1, failed)}, result: build, next: "a", reason: "no earlier build"},
		"failed, then asked for":   {builds: []v1alpha1.Build{made("b", 1), made("a", 2, failed)}, result: reuse, use: "b", reason: "nothing changed"},
		"newest of the same":       {builds: []v1alpha1.Build{made("a", 2), made("b", 1)}, result: reuse, use: "b", reason: "nothing changed"},
		"took over an image":       {builds: []v1alpha1.Build{made("b", 1, func(b *v1alpha1.Build) { b.Status.ReusedFrom = "a" }), made("a", 2)}, result: reuse, use: "a", reason: "nothing changed"},
		"base":                     {builds: []v1alpha1.Build{made("a", 1)}, bases: []string{"r/run-node@sha256:cc", baseB}, result: rebase, use: "a", reason: "the base changed"},
		"same base":                {builds: []v1alpha1.Build{made("a", 1)}, bases: []string{baseA}, result: reuse, use: "a", reason: "nothing changed"},
		"other base":               {builds: []v1alpha1.Build{made("a", 1)}, bases: []string{"r/run-node@sha256:cc"}, result: reuse, use: "a", reason: "nothing changed"},
		"base, under way":          {builds: []v1alpha1.Build{made("b", 1, rebasedTo(baseB), runs), made("a", 2)}, bases: []string{baseB}, result: rebase, use: "a", next: "b", reason: "the base changed"},
		"base, failed":             {builds: []v1alpha1.Build{made("b", 1, rebasedTo(baseB), failed), made("a", 2)}, bases: []string{baseB}, result: rebase, use: "a", next: "b", reason: "the base changed"},
		"rebased":                  {builds: []v1alpha1.Build{made("b", 1, rebasedTo(baseB)), made("a", 2)}, bases: []string{baseB}, result: reuse, use: "b", reason: "nothing changed"},
		"rebased by hand":          {builds: []v1alpha1.Build{made("b", 1, rebasedTo(baseB)), made("a", 2)}, result: reuse, use: "b", reason: "nothing changed"},
		"builder and base":         {want: builder(builderB), builds: []v1alpha1.Build{made("a", 1)}, bases: []string{baseB}, result: build, use: "a", reason: "the builder changed", because: "a build brings the base with it"},
		"kept builder, base":       {want: builder(builderB), builds: []v1alpha1.Build{made("a", 1)}, bases: []string{baseB}, keep: true, result: rebase, use: "a", reason: "the base changed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			want := made("want", 0)
			if c.want != nil {
				c.want(&want)
			}
			got := Decide(Question{Want: Inputs(want.Spec, ""), Builds: c.builds, Bases: c.bases, RebuildOnNewBuilder: !c.keep})
			if got.Result != c.result || !strings.Contains(got.Reason, c.reason) || nameOf(got.Use) != c.use || nameOf(got.Next) != c.next {
				t.Errorf("%s because %q, use %q, next %q; want %s because %q, use %q, next %q: %s",
					got.Result, got.Reason, nameOf(got.Use), nameOf(got.Next), c.result, c.reason, c.use, c.next, c.because)
			}
			if (got.Result == rebase) != (got.Base != "") {
				t.Errorf("base %q for %s", got.Base, got.Result)
			}
		})
	}
}

func nameOf(b *v1alpha1.Build) string {
	if b == nil {
		return ""
	}
	return b.Name
}

func TestChecksSayWhatWasAndIs(t *testing.T) {
	was, is := made("was", 1, env("A=1", "B=2")), made("is", 0, source("B"), env("B=3"), builder(builderB))
	got := Compare(Inputs(was.Spec, ""), Inputs(is.Spec, ""))
	hash := func(value string) string { return digest(value)[:8] }
	want := []v1alpha1.BuildCheck{
		{Name: CheckSource, Result: v1alpha1.CheckChanged, Was: "A", Is: "B"},
		{Name: CheckLanguage, Result: v1alpha1.CheckSame},
		{Name: CheckEnv, Result: v1alpha1.CheckChanged, Was: "A#" + hash("1") + " B#" + hash("2"), Is: "B#" + hash("3")},
		{Name: CheckBuilder, Result: v1alpha1.CheckChanged, Was: builderA, Is: builderB},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range Compare(v1alpha1.BuildInputs{}, Inputs(is.Spec, "")) {
		if c.Result != v1alpha1.CheckMissing {
			t.Errorf("%s is %s, with nothing to compare with", c.Name, c.Result)
		}
	}
}

func TestManyVariablesAreSummedUp(t *testing.T) {
	var many []string
	for i := range 64 {
		many = append(many, fmt.Sprintf("%s%d=x", strings.Repeat("N", 200), i))
	}
	a := made("a", 0, env(many...))
	text := envText(a.Spec.Env)
	many[7] += "y"
	b := made("b", 0, env(many...))
	if len(text) > maxEnvText || text == envText(b.Spec.Env) {
		t.Errorf("%d bytes; one changed value must show", len(text))
	}
}

func TestThePlatformsBuilderIsAnInput(t *testing.T) {
	fn := &v1alpha1.Function{Spec: v1alpha1.FunctionSpec{Source: v1alpha1.Source{Archive: &v1alpha1.Archive{Digest: "A"}}}}
	own := fn.DeepCopy()
	own.Spec.Build.Builder = "paketo"
	if Want(fn, builderA).Hash == Want(fn, builderB).Hash {
		t.Error("another builder of the platform is no change")
	}
	if Want(own, builderA).Hash != Want(own, builderB).Hash {
		t.Error("the platform's builder matters to a Function that names its own")
	}
}
