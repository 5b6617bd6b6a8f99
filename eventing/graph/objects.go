package graph

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Objects are what a Graph is built from. They are only read.
type Objects struct {
	Functions        []v1alpha1.Function
	Schedules        []v1alpha1.Schedule
	Brokers          []eventingv1.Broker
	Triggers         []eventingv1.Trigger
	Channels         []messagingv1.Channel
	InMemoryChannels []messagingv1.InMemoryChannel
	Subscriptions    []messagingv1.Subscription
	Sequences        []flowsv1.Sequence
	Parallels        []flowsv1.Parallel

	// Sources are objects of any kind that send events to spec.sink.
	Sources []unstructured.Unstructured
	// Targets are objects that events may be sent to, such as Services. Those
	// that nothing refers to are not shown.
	Targets []unstructured.Unstructured

	// Namespace is the one that the objects were listed in; empty for all.
	Namespace string
	// Listed are the kinds that were listed in full. Only of these it is known
	// that an object that is not among the others is not there.
	Listed sets.Set[schema.GroupKind]
}
