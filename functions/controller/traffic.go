package controller

import (
	"k8s.io/utils/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// traffic is the Knative form of a Function's traffic. Nil lets Knative send
// everything to the newest revision that is ready, which latestReady is.
func traffic(spec *v1alpha1.FunctionSpec, latestReady string) []servingv1.TrafficTarget {
	if rollback := spec.Rollback; rollback != nil && rollback.From == latestReady {
		targets := []servingv1.TrafficTarget{{RevisionName: rollback.To, LatestRevision: ptr.To(false), Percent: ptr.To(int64(100))}}
		return append(targets, tagged(spec.Traffic)...)
	}
	return split(spec.Traffic)
}

func split(wanted []v1alpha1.TrafficTarget) []servingv1.TrafficTarget {
	var targets []servingv1.TrafficTarget
	for _, t := range wanted {
		targets = append(targets, servingv1.TrafficTarget{
			RevisionName: t.Revision, LatestRevision: ptr.To(t.Revision == ""), Percent: t.Percent, Tag: t.Tag,
		})
	}
	return targets
}

// tagged keeps the URLs of tags during a rollback, without any share.
func tagged(wanted []v1alpha1.TrafficTarget) []servingv1.TrafficTarget {
	var targets []servingv1.TrafficTarget
	for _, t := range split(wanted) {
		if t.Tag != "" {
			t.Percent = nil
			targets = append(targets, t)
		}
	}
	return targets
}

// shares reads from a Knative Service how requests are shared out now.
func shares(service *servingv1.Service) []v1alpha1.TrafficShare {
	var all []v1alpha1.TrafficShare
	for _, t := range service.Status.Traffic {
		share := v1alpha1.TrafficShare{
			Revision: t.RevisionName, Latest: ptr.Deref(t.LatestRevision, false), Percent: ptr.Deref(t.Percent, 0), Tag: t.Tag,
		}
		if t.URL != nil {
			share.URL = t.URL.String()
		}
		all = append(all, share)
	}
	return all
}
