package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func TestFlagsBecomeFiltersThatAllMustMatch(t *testing.T) {
	flags := filterFlags{
		exact:  []string{"type=a,b", "source=/x=y"},
		prefix: []string{"subject=p"},
		suffix: []string{"subject=s", "type=z"},
		cesql:  []string{"a = 1", "b = 2"},
	}
	got, err := flags.filters()
	if err != nil {
		t.Fatal(err)
	}
	want := []eventingv1.SubscriptionsAPIFilter{
		{Exact: map[string]string{"type": "a,b", "source": "/x=y"}},
		{Prefix: map[string]string{"subject": "p"}},
		{Suffix: map[string]string{"subject": "s", "type": "z"}},
		{CESQL: "a = 1"}, {CESQL: "b = 2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNoFilterIsRefused(t *testing.T) {
	cases := map[string]filterFlags{
		"no value":                {exact: []string{"type"}},
		"an empty value":          {exact: []string{"type="}},
		"no attribute":            {prefix: []string{"=x"}},
		"one attribute twice":     {suffix: []string{"type=a", "type=b"}},
		"an attribute with dash":  {exact: []string{"my-type=a"}},
		"an empty expression":     {cesql: []string{" "}},
		"an expression cut short": {cesql: []string{"type ="}},
	}
	for name, flags := range cases {
		t.Run(name, func(t *testing.T) {
			if filters, err := flags.filters(); cmdline.Code(err) != cmdline.ExitUsage {
				t.Errorf("got %v and %v, want a usage error", filters, err)
			}
		})
	}
}

func TestFiltersAreShownInShort(t *testing.T) {
	cases := map[string]struct {
		spec eventingv1.TriggerSpec
		want []string
	}{
		"none": {eventingv1.TriggerSpec{}, nil},
		"the older field": {
			eventingv1.TriggerSpec{Filter: &eventingv1.TriggerFilter{Attributes: map[string]string{"type": "a", "source": ""}}},
			[]string{"source=*", "type=a"},
		},
		"the newer field wins": {
			eventingv1.TriggerSpec{
				Filter:  &eventingv1.TriggerFilter{Attributes: map[string]string{"type": "old"}},
				Filters: []eventingv1.SubscriptionsAPIFilter{{Exact: map[string]string{"type": "new"}}},
			},
			[]string{"type=new"},
		},
		"nested": {
			eventingv1.TriggerSpec{Filters: []eventingv1.SubscriptionsAPIFilter{
				{All: []eventingv1.SubscriptionsAPIFilter{{Prefix: map[string]string{"type": "a"}}, {Suffix: map[string]string{"type": "z"}}}},
				{Not: &eventingv1.SubscriptionsAPIFilter{CESQL: "x = 1"}},
			}},
			[]string{"all(type=a*, type=*z)", "not(cesql(x = 1))"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, filterTexts(c.spec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
