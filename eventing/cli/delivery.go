package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/pflag"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/apis/feature"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// deliveryFlags say what becomes of events that a sink does not take.
type deliveryFlags struct {
	flags                               *pflag.FlagSet
	retry                               int
	backoff, delay, timeout, deadLetter string
}

// add declares the flags.
func (d *deliveryFlags) add(flags *pflag.FlagSet) {
	d.flags = flags
	flags.IntVar(&d.retry, "retry", 0, "how often an event is sent again when the sink does not take it")
	flags.StringVar(&d.backoff, "backoff", "", "how the pause between tries grows: linear or exponential")
	flags.StringVar(&d.delay, "backoff-delay", "", "first pause between tries, in ISO 8601, such as PT1S")
	flags.StringVar(&d.timeout, "timeout", "", "how long one try may take, in ISO 8601, such as PT5S")
	flags.StringVar(&d.deadLetter, "dead-letter", "", "SINK for events that were given up")
}

// spec is what the flags say, nil when none was given.
func (d *deliveryFlags) spec(c *creation) (*eventingduckv1.DeliverySpec, error) {
	spec, given := &eventingduckv1.DeliverySpec{}, false
	if d.flags.Changed("retry") {
		if d.retry < 0 || d.retry > math.MaxInt32 {
			return nil, cmdline.Usagef("--retry %d is no number of tries from 0 on", d.retry)
		}
		retry := int32(d.retry)
		spec.Retry, given = &retry, true
	}
	if d.flags.Changed("backoff") {
		policy := eventingduckv1.BackoffPolicyType(d.backoff)
		spec.BackoffPolicy, given = &policy, true
		if spec.Validate(context.Background()) != nil {
			return nil, cmdline.Usagef("--backoff %q is neither linear nor exponential", d.backoff)
		}
	}
	if d.flags.Changed("backoff-delay") {
		spec.BackoffDelay, given = &d.delay, true
		if spec.Validate(context.Background()) != nil {
			return nil, cmdline.Usagef("--backoff-delay %q is no duration of ISO 8601: write one such as PT0.5S or PT1M", d.delay)
		}
	}
	if d.flags.Changed("timeout") {
		spec.Timeout, given = &d.timeout, true
		// Knative looks at the value only where the feature is on, as it is by default.
		ctx := feature.ToContext(context.Background(), feature.Flags{feature.DeliveryTimeout: feature.Enabled})
		if spec.Validate(ctx) != nil {
			return nil, cmdline.Usagef("--timeout %q is no duration of ISO 8601 above zero: write one such as PT5S or PT1M", d.timeout)
		}
	}
	if d.flags.Changed("dead-letter") {
		sink, err := c.optional("dead-letter", d.deadLetter)
		if err != nil {
			return nil, err
		}
		spec.DeadLetterSink, given = sink, true
	}
	if !given {
		return nil, nil
	}
	return spec, nil
}

// deliveryFacts tell people about a delivery.
func deliveryFacts(d *eventingduckv1.DeliverySpec, namespace string) []fact {
	if d == nil {
		return nil
	}
	var facts []fact
	if d.Retry != nil {
		facts = append(facts, fact{"Retries", fmt.Sprint(*d.Retry)})
	}
	if d.BackoffPolicy != nil || d.BackoffDelay != nil {
		facts = append(facts, fact{"Backoff", spaced(deref(d.BackoffPolicy), deref(d.BackoffDelay))})
	}
	return append(facts,
		fact{"Timeout", deref(d.Timeout)},
		fact{"Longest Retry-After", deref(d.RetryAfterMax)},
		fact{"Dead letters", sinkText(d.DeadLetterSink, namespace)},
	)
}
