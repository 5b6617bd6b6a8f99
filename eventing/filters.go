package eventing

import (
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func makeFilters(filters []v1alpha1.Filter) []eventingv1.SubscriptionsAPIFilter {
	return each(filters, func(f v1alpha1.Filter) eventingv1.SubscriptionsAPIFilter {
		out := match(f.FilterMatch)
		out.All, out.Any = each(f.All, group), each(f.Any, group)
		if f.Not != nil {
			not := group(*f.Not)
			out.Not = &not
		}
		return out
	})
}

func group(f v1alpha1.FilterGroup) eventingv1.SubscriptionsAPIFilter {
	out := match(f.FilterMatch)
	out.All, out.Any = each(f.All, leaf), each(f.Any, leaf)
	if f.Not != nil {
		not := leaf(*f.Not)
		out.Not = &not
	}
	return out
}

func leaf(f v1alpha1.FilterLeaf) eventingv1.SubscriptionsAPIFilter { return match(f.FilterMatch) }

func match(f v1alpha1.FilterMatch) eventingv1.SubscriptionsAPIFilter {
	return eventingv1.SubscriptionsAPIFilter{Exact: f.Exact, Prefix: f.Prefix, Suffix: f.Suffix, CESQL: f.CESQL}
}

func each[A, B any](in []A, convert func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, convert(a))
	}
	return out
}
