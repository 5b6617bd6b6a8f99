package cli

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// shared is what objects of any of these kinds may have.
type shared struct {
	Spec struct {
		Delivery *eventingduckv1.DeliverySpec `json:"delivery"`
	} `json:"spec"`
	Status struct {
		duckv1.Status        `json:",inline"`
		duckv1.AddressStatus `json:",inline"`
		DeadLetterSinkURI    *apis.URL `json:"deadLetterSinkUri"`
	} `json:"status"`
}

// addressText is where an object takes events.
func addressText(object *unstructured.Unstructured) string {
	address := read[shared](object).Status.Address
	if address == nil {
		return ""
	}
	return address.URL.String()
}

// deadLetters is where events of an object go that were given up.
func deadLetters(object *unstructured.Unstructured) string {
	delivery := read[shared](object).Spec.Delivery
	if delivery == nil {
		return ""
	}
	return sinkText(delivery.DeadLetterSink, object.GetNamespace())
}

// addressFacts tell where an object takes events.
func addressFacts(about *shared) []fact {
	var facts []fact
	if a := about.Status.Address; a != nil {
		facts = append(facts, fact{"Address", a.URL.String()})
	}
	for _, a := range about.Status.Addresses {
		if a.URL.String() != "" && (about.Status.Address == nil || a.URL.String() != about.Status.Address.URL.String()) {
			facts = append(facts, fact{"Address " + deref(a.Name), a.URL.String()})
		}
	}
	return facts
}
