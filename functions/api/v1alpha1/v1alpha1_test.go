package v1alpha1

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestReadySumsUp(t *testing.T) {
	good := []metav1.Condition{True(ConditionBuilt, "A", ""), True(ConditionDeployed, "B", ""), True(ConditionWired, "C", "")}
	with := func(c metav1.Condition) []metav1.Condition {
		return append(append([]metav1.Condition(nil), good...), c)
	}
	cases := map[string]struct {
		conditions []metav1.Condition
		older      bool
		want       metav1.Condition
		reason     string
	}{
		"all":            {conditions: good, want: True(ConditionReady, ReasonReady, "")},
		"nothing yet":    {want: Unknown(ConditionReady, ReasonPending, "waiting for Built")},
		"older spec":     {conditions: good, older: true, want: Unknown(ConditionReady, ReasonPending, "waiting for Built"), reason: "Ready is about this generation"},
		"deploying":      {conditions: with(Unknown(ConditionDeployed, ReasonDeploying, "m")), want: Unknown(ConditionReady, ReasonDeploying, "m")},
		"broker missing": {conditions: with(False(ConditionWired, ReasonBrokerNotFound, "m")), want: False(ConditionReady, ReasonBrokerNotFound, "m")},
		"failure is shown before waiting": {
			conditions: append(with(Unknown(ConditionBuilt, ReasonBuilding, "")), False(ConditionWired, ReasonBrokerNotFound, "m")),
			want:       False(ConditionReady, ReasonBrokerNotFound, "m"), reason: "only a person can help",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := &Function{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
			for _, condition := range c.conditions {
				f.Set(condition)
			}
			if c.older {
				f.Generation = 4
			}
			f.Summarize()
			got := current(f.Status.Conditions, ConditionReady, f.Generation)
			got.LastTransitionTime, got.ObservedGeneration = metav1.Time{}, 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestValidateFunction(t *testing.T) {
	duration := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	filtered := func(f Filter) FunctionSpec { return FunctionSpec{Events: []EventSource{{Filters: []Filter{f}}}} }
	cases := map[string]struct {
		spec FunctionSpec
		want string
	}{
		"defaults":       {},
		"no timeout":     {spec: FunctionSpec{Timeout: duration(0)}, want: "spec.timeout"},
		"days":           {spec: FunctionSpec{Timeout: duration(25 * time.Hour)}, want: "spec.timeout"},
		"start":          {spec: FunctionSpec{StartTimeout: duration(2 * time.Hour)}, want: "spec.startTimeout"},
		"idle":           {spec: FunctionSpec{Scale: Scale{IdleAfter: duration(2 * time.Hour)}}, want: "spec.scale.idleAfter"},
		"rps":            {spec: FunctionSpec{Scale: Scale{Metric: MetricRPS}}, want: "spec.scale.target"},
		"attribute name": {spec: filtered(Filter{FilterMatch: FilterMatch{Exact: map[string]string{"Data-Type": "x"}}}), want: "spec.events[0].filters[0].exact"},
		"nested name": {
			spec: filtered(Filter{Any: []FilterGroup{{Not: &FilterLeaf{FilterMatch{Prefix: map[string]string{"a_b": "x"}}}}}}),
			want: "spec.events[0].filters[0].any[0].not.prefix",
		},
		"empty value": {
			spec: filtered(Filter{Not: &FilterGroup{All: []FilterLeaf{{FilterMatch{Suffix: map[string]string{"type": ""}}}}}}),
			want: "spec.events[0].filters[0].not.all[0].suffix[type]",
		},
		"source":              {spec: sourced(`{"schedule": "@daily"}`)},
		"source without spec": {spec: sourced("")},
		"source of null":      {spec: sourced("null")},
		"source with a sink":  {spec: sourced(`{"sink": {"uri": "http://a.example"}}`), want: "spec.events[0].source.spec.sink"},
		"source of a list":    {spec: sourced("[]"), want: "spec.events[0].source.spec"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { expect(t, (&Function{Spec: c.spec}).Validate().ToAggregate(), c.want) })
	}
}

func sourced(spec string) FunctionSpec {
	return FunctionSpec{Events: []EventSource{{Source: &SourceTemplate{APIVersion: "a.example/v1", Kind: "Own", Spec: &runtime.RawExtension{Raw: []byte(spec)}}}}}
}

func TestValidateGitSource(t *testing.T) {
	cases := map[string]struct {
		source Source
		want   string
	}{
		"https":             {source: Source{Git: &GitSource{URL: "https://github.com/a/b"}}},
		"private range":     {source: Source{Git: &GitSource{URL: "https://10.1.2.3/a"}}},
		"ssh with key":      {source: Source{Git: &GitSource{URL: "git@github.com:a/b", SecretName: "key"}}},
		"ssh without key":   {source: Source{Git: &GitSource{URL: "git@github.com:a/b"}}, want: "spec.source.git.secretName"},
		"loopback":          {source: Source{Git: &GitSource{URL: "https://127.0.0.1/a"}}, want: "spec.source.git.url"},
		"localhost":         {source: Source{Git: &GitSource{URL: "https://localhost/a"}}, want: "machine itself"},
		"metadata":          {source: Source{Git: &GitSource{URL: "https://169.254.169.254/latest"}}, want: "metadata"},
		"file":              {source: Source{Git: &GitSource{URL: "file:///etc"}}, want: "knit deploy"},
		"path out":          {source: Source{Git: &GitSource{URL: "https://github.com/a/b", Path: "../x"}}, want: "spec.source.git.path"},
		"include out":       {source: Source{Git: &GitSource{URL: "https://github.com/a/b", Path: "fn"}, Include: []string{"../x"}}, want: "leads out"},
		"revision range":    {source: Source{Git: &GitSource{URL: "https://github.com/a/b", Revision: "a..b"}}, want: "spec.source.git.revision"},
		"archive path":      {source: Source{Archive: &Archive{Path: "a/fn"}}},
		"archive path out":  {source: Source{Archive: &Archive{Path: "../fn"}}, want: "spec.source.archive.path"},
		"password repeated": {source: Source{Git: &GitSource{URL: "https://me:hunter2@github.com/a"}}, want: "https://…@github.com/a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := (&Function{Spec: FunctionSpec{Source: c.source}}).Validate().ToAggregate()
			expect(t, err, c.want)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

func TestFunctionPath(t *testing.T) {
	for want, source := range map[string]BuildSource{
		".":       {},
		"a/fn":    {Archive: Archive{Path: "a/fn"}},
		"fn":      {Git: &GitSource{Path: "apps/fn"}, Include: []string{"apps/shared"}},
		"apps/fn": {Git: &GitSource{Path: "apps/fn"}, Include: []string{"go.mod"}},
	} {
		if got, err := source.FunctionPath(); err != nil || got != want {
			t.Errorf("%+v: %q, %v, want %q", source, got, err, want)
		}
	}
}

func TestValidateSchedule(t *testing.T) {
	sink := Destination{URI: "http://a.example"}
	function := Destination{Ref: &Reference{APIVersion: GroupVersion.String(), Kind: KindFunction, Name: "a"}}
	cases := map[string]struct {
		spec ScheduleSpec
		want string
	}{
		"defaults":     {spec: ScheduleSpec{Sink: sink}},
		"no sink":      {want: "spec.sink"},
		"short window": {spec: ScheduleSpec{Sink: sink, CatchUpWindow: &metav1.Duration{Duration: time.Second}}, want: "spec.catchUpWindow"},
		"long window":  {spec: ScheduleSpec{Sink: sink, CatchUpWindow: &metav1.Duration{Duration: 169 * time.Hour}}, want: "spec.catchUpWindow"},
		"timeout":      {spec: ScheduleSpec{Sink: sink, Timeout: &metav1.Duration{Duration: 2 * time.Hour}}, want: "spec.timeout"},
		"jitter":       {spec: ScheduleSpec{Sink: sink, Jitter: &metav1.Duration{Duration: 25 * time.Hour}}, want: "spec.jitter"},
		"prewarm":      {spec: ScheduleSpec{Sink: function, Prewarm: &metav1.Duration{Duration: time.Minute}}},
		"too early":    {spec: ScheduleSpec{Sink: function, Prewarm: &metav1.Duration{Duration: time.Hour}}, want: "spec.prewarm"},
		"nobody wakes": {spec: ScheduleSpec{Sink: sink, Prewarm: &metav1.Duration{Duration: time.Minute}}, want: "only a sink that is a Function"},
		"end first":    {spec: ScheduleSpec{Sink: sink, StartTime: day(2), EndTime: day(1)}, want: "spec.endTime"},
		"backwards":    {spec: ScheduleSpec{Sink: sink, Requests: []ScheduleRequest{{Name: "a", From: day(2), To: day(1)}}}, want: "spec.requests[0].to"},
		"large data": {
			spec: ScheduleSpec{Sink: sink, Event: EventTemplate{Data: &runtime.RawExtension{Raw: make([]byte, MaxEventData+1)}}},
			want: "spec.event.data",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { expect(t, (&Schedule{Spec: c.spec}).Validate().ToAggregate(), c.want) })
	}
}

func day(n int) *metav1.Time {
	t := metav1.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)
	return &t
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one about %s", err, want)
	}
}

func TestPlatform(t *testing.T) {
	data := map[string]string{"registry": "198.18.0.1:5000", "registry-prefix": "/knit/", "domain": "knit.localhost", "url-port": "8080", "builder-image": "b", "fetch-image": "f"}
	p, err := ParsePlatform(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Repository("ns", "fn"); got != "198.18.0.1:5000/knit/ns/fn" {
		t.Errorf("repository %q", got)
	}
	for in, want := range map[string]string{
		"http://fn.ns.knit.localhost":        "http://fn.ns.knit.localhost:8080",
		"http://fn.ns.knit.localhost:1/x":    "http://fn.ns.knit.localhost:1/x",
		"http://fn.ns.svc.cluster.local":     "http://fn.ns.svc.cluster.local",
		"http://fn.ns.notknit.localhost.org": "http://fn.ns.notknit.localhost.org",
	} {
		if got := p.ExternalURL(in); got != want {
			t.Errorf("URL %q of %q, want %q", got, in, want)
		}
	}
	delete(data, "builder-image")
	if _, err := ParsePlatform(data); err == nil || !strings.Contains(err.Error(), "knit install") {
		t.Errorf("error %v, want the next step", err)
	}
}
