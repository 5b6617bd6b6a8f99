package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits that the schema cannot express.
const (
	MaxTimeout       = 24 * time.Hour
	MaxStartTimeout  = time.Hour
	MaxIdleAfter     = time.Hour
	MinCatchUpWindow = 10 * time.Second
	MaxCatchUpWindow = 7 * 24 * time.Hour
	MaxEventData     = 64 << 10
)

// attributeName is the name of a CloudEvents attribute (CloudEvents 1.0.2,
// section "Naming Conventions").
var attributeName = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// Validate finds what the API server's schema could not: nil means that the
// Function can be worked on. The command line calls it before it pushes
// anything, the controller before it does anything.
func (f *Function) Validate() field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if t := f.Spec.RequestTimeout(); t < time.Second || t > MaxTimeout {
		errs = append(errs, field.Invalid(spec.Child("timeout"), t.String(), "must be between 1s and 24h"))
	}
	if t := f.Spec.TimeToListen(); t < time.Second || t > MaxStartTimeout {
		errs = append(errs, field.Invalid(spec.Child("startTimeout"), t.String(), "must be between 1s and 1h"))
	}
	if idle := f.Spec.Scale.IdleAfter; idle != nil && idle.Duration > MaxIdleAfter {
		errs = append(errs, field.Invalid(spec.Child("scale", "idleAfter"), idle.Duration.String(), "must be at most 1h"))
	}
	if m := f.Spec.Scale; m.Metric == MetricRPS && m.Target == nil {
		errs = append(errs, field.Required(spec.Child("scale", "target"), "metric rps needs the requests per second of one replica"))
	}
	errs = append(errs, f.Spec.Source.validate(spec.Child("source"))...)
	for i, e := range f.Spec.Events {
		at := spec.Child("events").Index(i)
		for j, filter := range e.Filters {
			errs = append(errs, filter.validate(at.Child("filters").Index(j))...)
		}
		if e.Source != nil {
			errs = append(errs, e.Source.validate(at.Child("source", "spec"))...)
		}
	}
	return errs
}

// validate looks into what the schema takes as any object.
func (s *SourceTemplate) validate(at *field.Path) field.ErrorList {
	fields, err := s.Fields()
	if err != nil {
		return field.ErrorList{field.Invalid(at, "", err.Error())}
	}
	if _, found := fields["sink"]; found {
		return field.ErrorList{field.Forbidden(at.Child("sink"), "the sink of a function's source is the function; remove it, and set reply for what the function answers")}
	}
	return nil
}

// Fields are those of the source's spec, as a copy.
func (s *SourceTemplate) Fields() (map[string]any, error) {
	fields := map[string]any{}
	if s.Spec == nil || len(s.Spec.Raw) == 0 {
		return fields, nil
	}
	if err := json.Unmarshal(s.Spec.Raw, &fields); err != nil {
		return nil, fmt.Errorf("must be an object: %w", err)
	}
	if fields == nil { // null
		fields = map[string]any{}
	}
	return fields, nil
}

func (f Filter) validate(at *field.Path) field.ErrorList {
	errs := f.FilterMatch.validate(at)
	for i, g := range f.All {
		errs = append(errs, g.validate(at.Child("all").Index(i))...)
	}
	for i, g := range f.Any {
		errs = append(errs, g.validate(at.Child("any").Index(i))...)
	}
	if f.Not != nil {
		errs = append(errs, f.Not.validate(at.Child("not"))...)
	}
	return errs
}

func (f FilterGroup) validate(at *field.Path) field.ErrorList {
	errs := f.FilterMatch.validate(at)
	for i, g := range f.All {
		errs = append(errs, g.validate(at.Child("all").Index(i))...)
	}
	for i, g := range f.Any {
		errs = append(errs, g.validate(at.Child("any").Index(i))...)
	}
	if f.Not != nil {
		errs = append(errs, f.Not.validate(at.Child("not"))...)
	}
	return errs
}

func (m FilterMatch) validate(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for dialect, attributes := range map[string]map[string]string{"exact": m.Exact, "prefix": m.Prefix, "suffix": m.Suffix} {
		for name, value := range attributes {
			if !attributeName.MatchString(name) {
				errs = append(errs, field.Invalid(at.Child(dialect), name, "the name of a CloudEvents attribute is a-z and 0-9 only"))
			}
			if value == "" {
				errs = append(errs, field.Required(at.Child(dialect).Key(name), fmt.Sprintf("%s needs a value to compare with", dialect)))
			}
		}
	}
	return errs
}
