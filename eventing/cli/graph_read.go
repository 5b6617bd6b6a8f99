package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/eventing/graph"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// listsAtOnce bounds the requests that are under way.
const listsAtOnce = 8

// resource is where the objects of a kind are listed.
type resource struct {
	schema.GroupVersionResource
	kind string
}

func (r resource) groupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.kind} }

// knownSources are Knative's own, for those who may not read which kinds there are.
var knownSources = []resource{
	{schema.GroupVersionResource{Group: "sources.knative.dev", Version: "v1", Resource: "apiserversources"}, "ApiServerSource"},
	{schema.GroupVersionResource{Group: "sources.knative.dev", Version: "v1", Resource: "containersources"}, "ContainerSource"},
	{schema.GroupVersionResource{Group: "sources.knative.dev", Version: "v1", Resource: "pingsources"}, "PingSource"},
	{schema.GroupVersionResource{Group: "sources.knative.dev", Version: "v1", Resource: "sinkbindings"}, "SinkBinding"},
}

// services are what events are sent to most.
var services = []resource{
	{schema.GroupVersionResource{Version: "v1", Resource: "services"}, "Service"},
	{schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}, "Service"},
}

func graphScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, eventingv1.AddToScheme, messagingv1.AddToScheme, flowsv1.AddToScheme, apiextensionsv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
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
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listsAtOnce)
	for _, kind := range r.known {
		group.Go(func() error { return r.typed(ctx, kind) })
	}
	group.Go(func() error { return r.untyped(ctx, services, &r.objects.Targets) })
	group.Go(func() error {
		sources, err := r.resources(ctx, labelSource, knownSources)
		if err != nil {
			return err
		}
		return r.untyped(ctx, sources, &r.objects.Sources)
	})
	group.Go(func() error {
		targets, err := r.resources(ctx, labelAddressable, nil)
		if err != nil {
			return err
		}
		return r.untyped(ctx, targets, &r.objects.Targets)
	})
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

// resources are the kinds with a label, which are not among the known ones, or
// others when the caller may not read kinds.
func (r *reading) resources(ctx context.Context, label string, otherwise []resource) ([]resource, error) {
	var kinds apiextensionsv1.CustomResourceDefinitionList
	err := r.cluster.List(ctx, &kinds, client.MatchingLabels{label: "true"})
	if absence(err) != "" {
		r.leaveOut("CustomResourceDefinition", fmt.Errorf("list kinds with the label %s: %w", label, err), absence(err)+": other kinds than Knative's own are not shown")
		return otherwise, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list kinds with the label %s: %w", label, err)
	}
	var all []resource
	for _, kind := range kinds.Items {
		names, version := kind.Spec.Names, servedVersion(kind.Spec.Versions)
		if version == "" || kind.Spec.Scope != apiextensionsv1.NamespaceScoped || r.knows(schema.GroupKind{Group: kind.Spec.Group, Kind: names.Kind}) {
			continue
		}
		all = append(all, resource{schema.GroupVersionResource{Group: kind.Spec.Group, Version: version, Resource: names.Plural}, names.Kind})
	}
	return all, nil
}

// knows tells whether a kind is listed anyhow.
func (r *reading) knows(kind schema.GroupKind) bool {
	return slices.ContainsFunc(r.known, func(k typedKind) bool { return k.GroupKind == kind }) ||
		slices.ContainsFunc(services, func(s resource) bool { return s.groupKind() == kind })
}

// servedVersion is the version in which objects are stored, or else any that is
// served.
func servedVersion(versions []apiextensionsv1.CustomResourceDefinitionVersion) string {
	name := ""
	for _, v := range versions {
		if v.Served && (v.Storage || name == "") {
			name = v.Name
		}
	}
	return name
}

// untyped lists kinds of any shape and adds their objects.
func (r *reading) untyped(ctx context.Context, resources []resource, to *[]unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listsAtOnce)
	for _, resource := range resources {
		group.Go(func() error {
			items, err := r.items(ctx, resource)
			return r.settle(resource.groupKind(), err, func() { *to = append(*to, items...) })
		})
	}
	return group.Wait()
}

func (r *reading) items(ctx context.Context, at resource) ([]unstructured.Unstructured, error) {
	path := "/apis/" + at.GroupVersion().String()
	if at.Group == "" {
		path = "/api/" + at.Version
	}
	if r.namespace != "" {
		path += "/namespaces/" + r.namespace
	}
	response, err := r.cluster.Do(ctx, http.MethodGet, path+"/"+at.Resource, nil, 0)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var list unstructured.UnstructuredList
	if err := list.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	return list.Items, nil
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
