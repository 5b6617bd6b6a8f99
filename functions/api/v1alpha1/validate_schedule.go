package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of what a Schedule may say.
const (
	MaxSinkTimeout = time.Hour
	MinSinkTimeout = time.Second
	MaxJitter      = 24 * time.Hour
	MaxPrewarm     = 5 * time.Minute
)

// Validate finds what the API server's schema could not, except in the times:
// those belong to the scheduler.
func (s *Schedule) Validate() field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if w := s.Spec.Window(); w < MinCatchUpWindow || w > MaxCatchUpWindow {
		errs = append(errs, field.Invalid(spec.Child("catchUpWindow"), w.String(), "must be between 10s and 168h"))
	}
	if t := s.Spec.SinkTimeout(); t < MinSinkTimeout || t > MaxSinkTimeout {
		errs = append(errs, field.Invalid(spec.Child("timeout"), t.String(), "must be between 1s and 1h"))
	}
	if j := s.Spec.Delay(); j < 0 || j > MaxJitter {
		errs = append(errs, field.Invalid(spec.Child("jitter"), j.String(), "must be between 0s and 24h"))
	}
	if p := s.Spec.WarmAhead(); p < 0 || p > MaxPrewarm {
		errs = append(errs, field.Invalid(spec.Child("prewarm"), p.String(), "must be between 0s and 5m"))
	}
	if s.Spec.WarmAhead() > 0 && (s.Spec.Sink.Ref == nil || s.Spec.Sink.Ref.Kind != KindFunction) {
		errs = append(errs, field.Invalid(spec.Child("prewarm"), s.Spec.WarmAhead().String(), "only a sink that is a Function can be woken; remove it or name a Function"))
	}
	if start, end := s.Spec.StartTime, s.Spec.EndTime; start != nil && end != nil && end.Before(start) {
		errs = append(errs, field.Invalid(spec.Child("endTime"), end.UTC().Format(time.RFC3339), "must not be before startTime"))
	}
	for i, r := range s.Spec.Requests {
		if r.From != nil && r.To != nil && r.To.Before(r.From) {
			errs = append(errs, field.Invalid(spec.Child("requests").Index(i).Child("to"), r.To.UTC().Format(time.RFC3339), "must not be before from"))
		}
	}
	if data := s.Spec.Event.Data; data != nil && len(data.Raw) > MaxEventData {
		errs = append(errs, field.TooLong(spec.Child("event", "data"), "", MaxEventData))
	}
	if s.Spec.Sink.Ref == nil && s.Spec.Sink.URI == "" {
		errs = append(errs, field.Required(spec.Child("sink"), "set ref or uri"))
	}
	return errs
}
