package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/eventing/graph"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// listsAtOnce bounds the requests that are under way.
const listsAtOnce = 8

// services are what events are sent to most.
var services = []kind{
	{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Service")},
	{GroupVersionKind: servingv1.SchemeGroupVersion.WithKind("Service")},
}

func graphScheme() *runtime.Scheme {
	scheme := newScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// reading collects the objects of a graph. What is not installed or not allowed
// is left out; any other failure ends it.
type reading struct {
	cluster   *cmdline.Cluster
	namespace string // empty for all
	known     []typedKind

	mu       sync.Mutex // guards what follows while lists are under way
	objects  graph.Objects
	refusals []refusal
}

// refusal is a kind that is left out.
type refusal struct {
	graph.Omission
	err error
}

func newReading(cluster *cmdline.Cluster, namespace string) *reading {
	r := &reading{cluster: cluster, namespace: namespace}
	r.objects = graph.Objects{Namespace: namespace, Listed: sets.New[schema.GroupKind]()}
	r.known = knownKinds(&r.objects)
	return r
}

// all lists everything. It fails when nothing at all could be listed.
func (r *reading) all(ctx context.Context) error {
	sources, err := r.installed(ctx, labelSource, ownSources())
	if err != nil {
		return err
	}
	targets, err := r.installed(ctx, labelAddressable, nil)
	if err != nil {
		return err
	}
	targets = slices.Concat(services, targets)
	if err := learn(r.cluster, slices.Concat(sources, targets)); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listsAtOnce)
	for _, kind := range r.known {
		group.Go(func() error { return r.typed(ctx, kind) })
	}
	for _, kind := range sources {
		group.Go(func() error { return r.untyped(ctx, kind, &r.objects.Sources) })
	}
	for _, kind := range targets {
		group.Go(func() error { return r.untyped(ctx, kind, &r.objects.Targets) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(r.refusals, func(x, y refusal) int { return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Reason, y.Reason)) })
	if r.objects.Listed.Len() == 0 {
		return r.refused()
	}
	return nil
}

// omitted are the kinds that were left out.
func (r *reading) omitted() []graph.Omission {
	var all []graph.Omission
	for _, one := range r.refusals {
		all = append(all, one.Omission)
	}
	return slices.Compact(all)
}

// refused is why nothing could be listed: something that is not allowed, or else
// that nothing is installed.
func (r *reading) refused() error {
	for _, one := range r.refusals {
		if apierrors.IsForbidden(one.err) {
			return one.err
		}
	}
	return r.refusals[0].err
}

// typedKind is a kind that the graph knows.
type typedKind struct {
	schema.GroupKind
	list client.ObjectList
	keep func()
}

// knownKinds are all of these; each keeps its list in o.
func knownKinds(o *graph.Objects) []typedKind {
	var (
		functions     v1alpha1.FunctionList
		schedules     v1alpha1.ScheduleList
		brokers       eventingv1.BrokerList
		triggers      eventingv1.TriggerList
		channels      messagingv1.ChannelList
		inMemory      messagingv1.InMemoryChannelList
		subscriptions messagingv1.SubscriptionList
		sequences     flowsv1.SequenceList
		parallels     flowsv1.ParallelList
	)
	return []typedKind{
		{schema.GroupKind{Group: "knit.dev", Kind: "Function"}, &functions, func() { o.Functions = functions.Items }},
		{schema.GroupKind{Group: "knit.dev", Kind: "Schedule"}, &schedules, func() { o.Schedules = schedules.Items }},
		{schema.GroupKind{Group: "eventing.knative.dev", Kind: "Broker"}, &brokers, func() { o.Brokers = brokers.Items }},
		{schema.GroupKind{Group: "eventing.knative.dev", Kind: "Trigger"}, &triggers, func() { o.Triggers = triggers.Items }},
		{schema.GroupKind{Group: "messaging.knative.dev", Kind: "Channel"}, &channels, func() { o.Channels = channels.Items }},
		{schema.GroupKind{Group: "messaging.knative.dev", Kind: "InMemoryChannel"}, &inMemory, func() { o.InMemoryChannels = inMemory.Items }},
		{schema.GroupKind{Group: "messaging.knative.dev", Kind: "Subscription"}, &subscriptions, func() { o.Subscriptions = subscriptions.Items }},
		{schema.GroupKind{Group: "flows.knative.dev", Kind: "Sequence"}, &sequences, func() { o.Sequences = sequences.Items }},
		{schema.GroupKind{Group: "flows.knative.dev", Kind: "Parallel"}, &parallels, func() { o.Parallels = parallels.Items }},
	}
}

func (r *reading) typed(ctx context.Context, kind typedKind) error {
	err := r.cluster.List(ctx, kind.list, client.InNamespace(r.namespace))
	return r.settle(kind.GroupKind, err, kind.keep)
}

// installed are the kinds with a label that are not listed anyhow, or others
// when the caller may not read kinds.
func (r *reading) installed(ctx context.Context, label string, otherwise []kind) ([]kind, error) {
	kinds, err := definitions(ctx, r.cluster, label)
	if reason := absence(err); reason != "" {
		r.leaveOut("CustomResourceDefinition", err, reason+": other kinds than Knative's own are not shown")
		return otherwise, nil
	}
	return slices.DeleteFunc(kinds, r.knows), err
}

// knows tells whether a kind is listed anyhow.
func (r *reading) knows(k kind) bool {
	same := func(other schema.GroupKind) bool { return other == k.GroupKind() }
	return slices.ContainsFunc(r.known, func(t typedKind) bool { return same(t.GroupKind) }) ||
		slices.ContainsFunc(services, func(s kind) bool { return same(s.GroupKind()) })
}

// untyped lists a kind of any shape and adds its objects.
func (r *reading) untyped(ctx context.Context, k kind, to *[]unstructured.Unstructured) error {
	list := k.list()
	err := r.cluster.List(ctx, list, client.InNamespace(r.namespace))
	return r.settle(k.GroupKind(), err, func() { *to = append(*to, list.Items...) })
}

// settle keeps what was listed of a kind, or leaves the kind out.
func (r *reading) settle(kind schema.GroupKind, err error, keep func()) error {
	if absence(err) != "" {
		r.leaveOut(kind.String(), fmt.Errorf("list %s: %w", kind, err), absence(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", kind, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keep()
	r.objects.Listed.Insert(kind)
	return nil
}

func (r *reading) leaveOut(kind string, err error, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals = append(r.refusals, refusal{graph.Omission{Kind: kind, Reason: reason}, err})
}

// absence says in words why a kind is left out; empty when it need not be.
func absence(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "you may not list it"
	case apierrors.IsNotFound(err):
		return "not installed"
	}
	return ""
}
