package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

// EventSource is one stream of events that a Function receives: from a broker,
// a channel or a source; from the broker "default" when it names none of them.
//
// +kubebuilder:validation:XValidation:rule="[has(self.broker), has(self.channel), has(self.source)].filter(x, x).size() <= 1",message="set at most one of broker, channel and source"
// +kubebuilder:validation:XValidation:rule="!has(self.filters) || !(has(self.channel) || has(self.source))",message="only a broker filters events; send those of the channel or source to a broker first"
// +kubebuilder:validation:XValidation:rule="!has(self.reply) || has(self.channel) || has(self.source)",message="what a function answers to an event of a broker goes back to that broker; a reply to elsewhere needs a channel or source"
type EventSource struct {
	// Broker of the same namespace that the events come from.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Broker string `json:"broker,omitempty"`

	// Channel of the same namespace that the events come from, of the kind
	// Channel of messaging.knative.dev/v1.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Channel string `json:"channel,omitempty"`

	// Source is made for this function and sends to it. With reply or delivery
	// it sends through a Channel, also made for it: a source alone does neither.
	// +optional
	Source *SourceTemplate `json:"source,omitempty"`

	// Filters choose events of a broker; an event must pass all of them. None
	// lets all pass.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Filters []Filter `json:"filters,omitempty"`

	// Reply is where the events go that the function answers with, when they
	// come from a channel or source; nowhere when empty.
	// +optional
	Reply *Destination `json:"reply,omitempty"`

	// Delivery says what happens when the function does not take an event.
	// +optional
	Delivery *Delivery `json:"delivery,omitempty"`
}

// SourceTemplate is a source of any installed kind. Its CustomResourceDefinition
// must have the label duck.knative.dev/source=true, as Knative's Source contract
// asks for; `kubectl get crd -l duck.knative.dev/source=true` lists them.
type SourceTemplate struct {
	// APIVersion of the kind, e.g. "sources.knative.dev/v1".
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/v[a-z0-9]+$`
	APIVersion string `json:"apiVersion"`
	// Kind of the source, e.g. "PingSource".
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Kind string `json:"kind"`
	// Spec of the source without its sink, which is filled in.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Spec *runtime.RawExtension `json:"spec,omitempty"`
}

// Delivery is JSON-identical to the part of Knative's DeliverySpec that brokers
// and channels of every class honour.
type Delivery struct {
	// DeadLetterSink receives the events that could not be delivered.
	// +optional
	DeadLetterSink *Destination `json:"deadLetterSink,omitempty"`
	// Retry is how often a delivery is tried again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Retry *int32 `json:"retry,omitempty"`
	// Timeout of each try, in ISO 8601, e.g. "PT30S".
	// +optional
	// +kubebuilder:validation:Pattern=`^PT([0-9]{1,5}(\.[0-9]{1,3})?[HMS]){1,3}$`
	Timeout *string `json:"timeout,omitempty"`
	// BackoffPolicy is how the delay grows between tries.
	// +optional
	// +kubebuilder:validation:Enum=linear;exponential
	BackoffPolicy *string `json:"backoffPolicy,omitempty"`
	// BackoffDelay is the delay before the first retry, in ISO 8601, e.g. "PT1S".
	// +optional
	// +kubebuilder:validation:Pattern=`^PT([0-9]{1,5}(\.[0-9]{1,3})?[HMS]){1,3}$`
	BackoffDelay *string `json:"backoffDelay,omitempty"`
}

// Destination is JSON-identical to Knative's: an object that has an address, or
// a URI. The URI is a string here, checked by the schema, so that no value that
// the API server stored can fail to decode.
//
// +kubebuilder:validation:XValidation:rule="has(self.ref) != has(self.uri)",message="set exactly one of ref and uri"
type Destination struct {
	// Ref is an object in the same namespace.
	// +optional
	Ref *Reference `json:"ref,omitempty"`
	// URI is an absolute http or https address.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",message="must be an absolute http or https URL"
	URI string `json:"uri,omitempty"`
}

// Reference names an object in the namespace of the object that holds it. It is
// the part of Knative's KReference that cannot leave the namespace.
type Reference struct {
	// APIVersion of the object, e.g. "eventing.knative.dev/v1".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	APIVersion string `json:"apiVersion"`
	// Kind of the object, e.g. "Broker".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Filter chooses events, in the language of the CloudEvents Subscriptions API.
// Exactly one dialect is set. It is JSON-identical to Knative's
// SubscriptionsAPIFilter, nested three deep at most because the schema of a
// custom resource cannot recurse; what needs more is said in CESQL.
//
// +kubebuilder:validation:XValidation:rule="[has(self.all), has(self.any), has(self.not), has(self.exact), has(self.prefix), has(self.suffix), has(self.cesql)].exists_one(x, x)",message="set exactly one of all, any, not, exact, prefix, suffix and cesql"
type Filter struct {
	// All must pass.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	All []FilterGroup `json:"all,omitempty"`
	// Any of these must pass.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Any []FilterGroup `json:"any,omitempty"`
	// Not must not pass.
	// +optional
	Not         *FilterGroup `json:"not,omitempty"`
	FilterMatch `json:",inline"`
}

// FilterGroup is a filter inside of a Filter.
//
// +kubebuilder:validation:XValidation:rule="[has(self.all), has(self.any), has(self.not), has(self.exact), has(self.prefix), has(self.suffix), has(self.cesql)].exists_one(x, x)",message="set exactly one of all, any, not, exact, prefix, suffix and cesql"
type FilterGroup struct {
	// All must pass.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	All []FilterLeaf `json:"all,omitempty"`
	// Any of these must pass.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Any []FilterLeaf `json:"any,omitempty"`
	// Not must not pass.
	// +optional
	Not         *FilterLeaf `json:"not,omitempty"`
	FilterMatch `json:",inline"`
}

// FilterLeaf is the innermost filter.
//
// +kubebuilder:validation:XValidation:rule="[has(self.exact), has(self.prefix), has(self.suffix), has(self.cesql)].exists_one(x, x)",message="set exactly one of exact, prefix, suffix and cesql here; say deeper nesting in cesql"
type FilterLeaf struct {
	FilterMatch `json:",inline"`
}

// FilterMatch compares attributes of an event.
type FilterMatch struct {
	// Exact values of attributes.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Exact map[string]string `json:"exact,omitempty"`
	// Prefix of the values of attributes.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Prefix map[string]string `json:"prefix,omitempty"`
	// Suffix of the values of attributes.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	Suffix map[string]string `json:"suffix,omitempty"`
	// CESQL is an expression in CloudEvents SQL.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	CESQL string `json:"cesql,omitempty"`
}
