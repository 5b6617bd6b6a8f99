package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func TestTraffic(t *testing.T) {
	all, none := ptr.To(true), ptr.To(false)
	percent := func(n int64) *int64 { return &n }
	canary := []v1alpha1.TrafficTarget{{Percent: percent(10), Tag: "next"}, {Revision: "hello-00001", Percent: percent(90), Tag: "stable"}}
	back := &v1alpha1.Rollback{From: "hello-00002", To: "hello-00001"}
	cases := map[string]struct {
		spec        v1alpha1.FunctionSpec
		latestReady string
		want        []servingv1.TrafficTarget
	}{
		"nothing said": {latestReady: "hello-00001"},
		"a split": {spec: v1alpha1.FunctionSpec{Traffic: canary}, want: []servingv1.TrafficTarget{
			{LatestRevision: all, Percent: percent(10), Tag: "next"}, {RevisionName: "hello-00001", LatestRevision: none, Percent: percent(90), Tag: "stable"}}},
		"rolled back": {spec: v1alpha1.FunctionSpec{Rollback: back}, latestReady: "hello-00002", want: []servingv1.TrafficTarget{
			{RevisionName: "hello-00001", LatestRevision: none, Percent: percent(100)}}},
		"rolled back, tags stay": {spec: v1alpha1.FunctionSpec{Rollback: back, Traffic: canary}, latestReady: "hello-00002", want: []servingv1.TrafficTarget{
			{RevisionName: "hello-00001", LatestRevision: none, Percent: percent(100)},
			{LatestRevision: all, Tag: "next"}, {RevisionName: "hello-00001", LatestRevision: none, Tag: "stable"}}},
		"the next revision ends a rollback": {spec: v1alpha1.FunctionSpec{Rollback: back}, latestReady: "hello-00003"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, traffic(&c.spec, c.latestReady)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
