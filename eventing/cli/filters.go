package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// filterFlags say which events a trigger lets through. All must match.
type filterFlags struct{ exact, prefix, suffix, cesql []string }

// add declares the flags. Values keep their commas.
func (f *filterFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.exact, "filter", nil, "attribute=value: the attribute is exactly this; repeatable, all must match")
	flags.StringArrayVar(&f.prefix, "filter-prefix", nil, "attribute=value: the attribute begins so; repeatable")
	flags.StringArrayVar(&f.suffix, "filter-suffix", nil, "attribute=value: the attribute ends so; repeatable")
	flags.StringArrayVar(&f.cesql, "filter-cesql", nil, "an expression of CloudEvents SQL that is true; repeatable")
}

// filters are what the flags say, checked by Knative's own rules.
func (f *filterFlags) filters() ([]eventingv1.SubscriptionsAPIFilter, error) {
	var filters []eventingv1.SubscriptionsAPIFilter
	for _, dialect := range []struct {
		flag   string
		values []string
		make   func(map[string]string) eventingv1.SubscriptionsAPIFilter
	}{
		{"filter", f.exact, func(m map[string]string) eventingv1.SubscriptionsAPIFilter {
			return eventingv1.SubscriptionsAPIFilter{Exact: m}
		}},
		{"filter-prefix", f.prefix, func(m map[string]string) eventingv1.SubscriptionsAPIFilter {
			return eventingv1.SubscriptionsAPIFilter{Prefix: m}
		}},
		{"filter-suffix", f.suffix, func(m map[string]string) eventingv1.SubscriptionsAPIFilter {
			return eventingv1.SubscriptionsAPIFilter{Suffix: m}
		}},
	} {
		attributes, err := pairs(dialect.flag, dialect.values)
		if err != nil {
			return nil, err
		}
		if len(attributes) > 0 {
			filters = append(filters, dialect.make(attributes))
		}
	}
	for _, expression := range f.cesql {
		if strings.TrimSpace(expression) == "" {
			return nil, cmdline.Usagef("--filter-cesql %q is no expression: write one such as \"type = 'com.example.created'\"", expression)
		}
		filters = append(filters, eventingv1.SubscriptionsAPIFilter{CESQL: expression})
	}
	if err := eventingv1.ValidateSubscriptionAPIFiltersList(context.Background(), filters); err != nil {
		return nil, cmdline.Usage(fmt.Errorf("Knative does not take these filters: %w", err))
	}
	return filters, nil
}

// pairs reads attribute=value, neither of them empty.
func pairs(flag string, values []string) (map[string]string, error) {
	all := map[string]string{}
	for _, raw := range values {
		name, value, _ := strings.Cut(raw, "=")
		if name == "" || value == "" {
			return nil, cmdline.Usagef("--%s %q is not attribute=value, such as type=com.example.created", flag, raw)
		}
		if _, twice := all[name]; twice {
			return nil, cmdline.Usagef("--%s names the attribute %s twice, and no event can be both", flag, name)
		}
		all[name] = value
	}
	return all, nil
}

// filterTexts shows what lets events through, each in short. Filters win over
// the older field filter, as they do in Knative.
func filterTexts(spec eventingv1.TriggerSpec) []string {
	if len(spec.Filters) > 0 {
		var texts []string
		for _, f := range spec.Filters {
			texts = append(texts, filterText(f))
		}
		return texts
	}
	if spec.Filter == nil {
		return nil
	}
	return attributeTexts(spec.Filter.Attributes, "", "")
}

func filterText(f eventingv1.SubscriptionsAPIFilter) string {
	texts := attributeTexts(f.Exact, "", "")
	texts = append(texts, attributeTexts(f.Prefix, "", "*")...)
	texts = append(texts, attributeTexts(f.Suffix, "*", "")...)
	if f.CESQL != "" {
		texts = append(texts, "cesql("+f.CESQL+")")
	}
	if len(f.All) > 0 {
		texts = append(texts, "all("+groupText(f.All)+")")
	}
	if len(f.Any) > 0 {
		texts = append(texts, "any("+groupText(f.Any)+")")
	}
	if f.Not != nil {
		texts = append(texts, "not("+filterText(*f.Not)+")")
	}
	return strings.Join(texts, ", ")
}

func groupText(group []eventingv1.SubscriptionsAPIFilter) string {
	var texts []string
	for _, f := range group {
		texts = append(texts, filterText(f))
	}
	return strings.Join(texts, ", ")
}

// attributeTexts shows attributes in the order of their names; an empty value
// stands for any.
func attributeTexts(attributes map[string]string, before, after string) []string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		value := before + attributes[name] + after
		if value == "" {
			value = "*"
		}
		texts = append(texts, name+"="+value)
	}
	return texts
}
