package eventing

import (
	"fmt"

	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// makeDelivery leaves a Function's events to the delivery of their broker or
// channel when it says nothing. A delivery of its own replaces that as a whole, so
// it names the platform's dead-letter sink unless the Function names another.
func makeDelivery(namespace string, d *v1alpha1.Delivery) (*eventingduckv1.DeliverySpec, error) {
	if d == nil {
		return nil, nil
	}
	spec := &eventingduckv1.DeliverySpec{Retry: d.Retry, Timeout: d.Timeout, BackoffDelay: d.BackoffDelay}
	if d.BackoffPolicy != nil {
		policy := eventingduckv1.BackoffPolicyType(*d.BackoffPolicy)
		spec.BackoffPolicy = &policy
	}
	if d.DeadLetterSink == nil {
		sink, err := apis.ParseURL(deadletter.SinkURL)
		spec.DeadLetterSink = &duckv1.Destination{URI: sink}
		return spec, err
	}
	var err error
	if spec.DeadLetterSink, err = makeDestination(namespace, d.DeadLetterSink); err != nil {
		return nil, fmt.Errorf("delivery.deadLetterSink.%w", err)
	}
	return spec, nil
}

// makeDestination keeps a destination in the namespace of the Function.
func makeDestination(namespace string, d *v1alpha1.Destination) (*duckv1.Destination, error) {
	if d == nil {
		return nil, nil
	}
	if ref := d.Ref; ref != nil {
		return &duckv1.Destination{Ref: &duckv1.KReference{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: namespace, Name: ref.Name}}, nil
	}
	uri, err := apis.ParseURL(d.URI)
	if err != nil {
		return nil, fmt.Errorf("uri: %w", err)
	}
	return &duckv1.Destination{URI: uri}, nil
}
