package graph

import (
	"maps"
	"slices"
	"strings"

	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
)

// maxLabel is how long the short form of filters may be, in characters.
const maxLabel = 120

// filtersOf returns the filters of a Trigger in the form that holds: the older
// form counts only without the newer, and an empty value in it lets all pass.
func filtersOf(spec eventingv1.TriggerSpec) []eventingv1.SubscriptionsAPIFilter {
	if len(spec.Filters) > 0 || spec.Filter == nil {
		return spec.Filters
	}
	exact := map[string]string{}
	for name, value := range spec.Filter.Attributes {
		if value != eventingv1.TriggerAnyFilter {
			exact[name] = value
		}
	}
	if len(exact) == 0 {
		return nil
	}
	return []eventingv1.SubscriptionsAPIFilter{{Exact: exact}}
}

// filterLabel writes filters as a person would say them, in short.
func filterLabel(filters []eventingv1.SubscriptionsAPIFilter) string {
	w := &labelWriter{}
	w.list(filters, ", ")
	return shorten(w.String(), maxLabel)
}

// labelWriter stops descending when the label is long enough.
type labelWriter struct{ strings.Builder }

func (w *labelWriter) full() bool { return w.Len() > maxLabel*4 }

func (w *labelWriter) list(filters []eventingv1.SubscriptionsAPIFilter, between string) {
	for i, f := range filters {
		if w.full() {
			return
		}
		if i > 0 {
			w.WriteString(between)
		}
		w.one(f)
	}
}

func (w *labelWriter) one(f eventingv1.SubscriptionsAPIFilter) {
	w.attributes(f.Exact, " = ", "", "")
	w.attributes(f.Prefix, " = ", "", "*")
	w.attributes(f.Suffix, " = ", "*", "")
	w.group(f.All, " and ")
	w.group(f.Any, " or ")
	if f.Not != nil {
		w.WriteString("not (")
		w.one(*f.Not)
		w.WriteString(")")
	}
	w.WriteString(shorten(f.CESQL, maxLabel))
}

func (w *labelWriter) attributes(values map[string]string, equals, before, after string) {
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if w.full() {
			return
		}
		if i > 0 {
			w.WriteString(", ")
		}
		w.WriteString(shorten(name, maxLabel) + equals + before + shorten(values[name], maxLabel) + after)
	}
}

func (w *labelWriter) group(filters []eventingv1.SubscriptionsAPIFilter, between string) {
	switch len(filters) {
	case 0:
	case 1:
		w.one(filters[0])
	default:
		w.WriteString("(")
		w.list(filters, between)
		w.WriteString(")")
	}
}

// typeSet is what is known of the types of events. The zero value says nothing;
// limited without a type says that no event passes.
type typeSet struct {
	limited bool
	types   []string // sorted
}

// passing returns the types that filters let pass. It is never less than what
// they do let pass: dialects that it does not judge let all types pass.
func passing(filters []eventingv1.SubscriptionsAPIFilter) typeSet {
	var all typeSet
	for _, f := range filters {
		all = all.and(passingOne(f))
	}
	return all
}

func passingOne(f eventingv1.SubscriptionsAPIFilter) typeSet {
	if dialects(f) != 1 {
		return typeSet{}
	}
	if exact, ok := f.Exact["type"]; ok {
		return typeSet{limited: true, types: []string{exact}}
	}
	if len(f.Any) > 0 {
		return passingAny(f.Any)
	}
	return passing(f.All)
}

func passingAny(filters []eventingv1.SubscriptionsAPIFilter) typeSet {
	some := typeSet{limited: true}
	for _, f := range filters {
		one := passingOne(f)
		if !one.limited {
			return typeSet{}
		}
		some.types = append(some.types, one.types...)
	}
	slices.Sort(some.types)
	some.types = slices.Compact(some.types)
	return some
}

// dialects counts what a filter says. Knative allows one; what several would
// mean is left open.
func dialects(f eventingv1.SubscriptionsAPIFilter) int {
	n := 0
	for _, said := range []bool{
		len(f.Exact) > 0, len(f.Prefix) > 0, len(f.Suffix) > 0, len(f.All) > 0, len(f.Any) > 0, f.Not != nil, f.CESQL != "",
	} {
		if said {
			n++
		}
	}
	return n
}

func (s typeSet) and(other typeSet) typeSet {
	switch {
	case !s.limited:
		return other
	case !other.limited:
		return s
	}
	both := typeSet{limited: true}
	for _, t := range s.types {
		if _, found := slices.BinarySearch(other.types, t); found {
			both.types = append(both.types, t)
		}
	}
	return both
}
