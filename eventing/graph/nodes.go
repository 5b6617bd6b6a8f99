package graph

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// maxOwners is how many owners up an object is folded: an IntegrationSource
// owns a ContainerSource, which owns a SinkBinding.
const maxOwners = 4

// key names an object, whatever version its kind was read in.
type key struct{ group, kind, namespace, name string }

func keyOf(apiVersion, kind, namespace, name string) key {
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = ""
	}
	return key{group, kind, namespace, name}
}

func (k key) id() string {
	id := strings.ToLower(k.kind)
	if k.group != "" {
		id += "." + k.group
	}
	if k.namespace != "" {
		id += "/" + k.namespace
	}
	return printable(id + "/" + k.name)
}

// class is what a kind does, where its group says so.
func (k key) class() Class {
	switch {
	case k.group == v1alpha1.GroupVersion.Group && k.kind == "Function":
		return Function
	case k.group == "eventing.knative.dev" && k.kind == "Broker":
		return Broker
	case k.group == "messaging.knative.dev":
		return Channel
	case k.group == "flows.knative.dev":
		return Flow
	}
	return Other
}

func (k key) isCoreService() bool    { return k.group == "" && k.kind == "Service" }
func (k key) isKnativeService() bool { return k.group == "serving.knative.dev" && k.kind == "Service" }

// entry is an object that may become a node.
type entry struct {
	key
	apiVersion string
	class      Class
	uid        types.UID
	owner      *metav1.OwnerReference
	health     Health
	addresses  []string
	object     *unstructured.Unstructured // of sources and targets, whose spec is read when they are shown
	shown      bool
	node       int // its place among the nodes, once they are sorted
}

// collect makes entries of all objects, and shows all that are no targets.
// Functions come first: a Service at the same address is theirs.
func (b *builder) collect() {
	o := b.objects
	for _, f := range sorted(o.Functions) {
		addresses := []string{f.Status.URL}
		if f.Status.Address != nil {
			addresses = []string{f.Status.Address.URL, f.Status.URL}
		}
		b.add(v1alpha1.GroupVersion.String(), "Function", Function, f, knitHealth(f, f.Status.Conditions), addresses)
	}
	for _, x := range sorted(o.Brokers) {
		b.add("eventing.knative.dev/v1", "Broker", Broker, x, knativeHealth(x, x.Status.Status), addressesOf(x.Status.AddressStatus))
	}
	for _, x := range sorted(o.Channels) {
		b.add("messaging.knative.dev/v1", "Channel", Channel, x, knativeHealth(x, x.Status.Status), addressesOf(x.Status.AddressStatus))
	}
	for _, x := range sorted(o.InMemoryChannels) {
		b.add("messaging.knative.dev/v1", "InMemoryChannel", Channel, x, knativeHealth(x, x.Status.Status), addressesOf(x.Status.AddressStatus))
	}
	for _, x := range sorted(o.Sequences) {
		address := duckv1.AddressStatus{Address: &x.Status.Address}
		b.add("flows.knative.dev/v1", "Sequence", Flow, x, knativeHealth(x, x.Status.Status), addressesOf(address))
	}
	for _, x := range sorted(o.Parallels) {
		b.add("flows.knative.dev/v1", "Parallel", Flow, x, knativeHealth(x, x.Status.Status), addressesOf(x.Status.AddressStatus))
	}
	for _, s := range sorted(o.Schedules) {
		b.add(v1alpha1.GroupVersion.String(), "Schedule", Source, s, knitHealth(s, s.Status.Conditions), nil)
	}
	for _, u := range sorted(o.Sources) {
		b.add(u.GetAPIVersion(), u.GetKind(), Source, u, duckHealth(u), nil).object = u
	}
	shown := slices.Clone(b.order)
	b.collectTargets()
	for _, e := range shown {
		b.show(e)
	}
}

// collectTargets takes Services of Kubernetes last: one with the name of a
// Knative Service only leads to it.
func (b *builder) collectTargets() {
	targets := sorted(b.objects.Targets)
	slices.SortStableFunc(targets, func(x, y *unstructured.Unstructured) int {
		return cmp.Compare(strings.Count(y.GetAPIVersion(), "/"), strings.Count(x.GetAPIVersion(), "/"))
	})
	for _, u := range targets {
		k := keyOf(u.GetAPIVersion(), u.GetKind(), u.GetNamespace(), u.GetName())
		if b.entries[k] == nil {
			b.add(u.GetAPIVersion(), u.GetKind(), k.class(), u, duckHealth(u), duckAddresses(u)).object = u
		}
	}
}

// add makes an entry of an object and makes its addresses known.
func (b *builder) add(apiVersion, kind string, class Class, o metav1.Object, h Health, addresses []string) *entry {
	e := &entry{
		key:        keyOf(apiVersion, kind, o.GetNamespace(), o.GetName()),
		apiVersion: apiVersion, class: class, uid: o.GetUID(), owner: metav1.GetControllerOf(o), health: h, addresses: addresses,
	}
	b.entries[e.key] = e
	b.order = append(b.order, e)
	for _, address := range addresses {
		if whole, _ := normal(address); whole != "" && b.byAddress[whole] == nil {
			b.byAddress[whole] = e
		}
	}
	return e
}

// show makes an entry, or the one that it is folded into, a node.
func (b *builder) show(e *entry) *entry {
	e = b.root(e)
	if !e.shown {
		e.shown = true
		b.nodes = append(b.nodes, e)
		if e.object != nil {
			b.pending = append(b.pending, e)
		}
	}
	return e
}

// root follows an entry to the object that it is a part of.
func (b *builder) root(e *entry) *entry {
	for range maxOwners {
		owner := b.ownerOf(e)
		if owner == nil {
			break
		}
		e = owner
	}
	if e.isCoreService() && len(e.addresses) > 0 {
		whole, _ := normal(e.addresses[0])
		if same := b.byAddress[whole]; same != nil && same != e && !same.isCoreService() {
			return b.root(same)
		}
	}
	return e
}

// ownerOf is the owner that an entry is a part of, or nil.
func (b *builder) ownerOf(e *entry) *entry {
	if e.owner == nil {
		return nil
	}
	owner := b.entries[keyOf(e.owner.APIVersion, e.owner.Kind, e.namespace, e.owner.Name)]
	if owner == nil || owner == e || !sameUID(owner.uid, e.owner.UID) || !folds(e, owner) {
		return nil
	}
	return owner
}

// sameUID tells an owner from another object of its name.
func sameUID(is, wanted types.UID) bool { return is == "" || wanted == "" || is == wanted }

// folds tells whether an object that another one owns is its inside.
func folds(e, owner *entry) bool {
	switch e.class {
	case Channel:
		return owner.class == Broker || owner.class == Channel || owner.class == Flow
	case Source:
		return owner.class == Source
	}
	return e.isKnativeService() && owner.class == Function
}

// object is what the items of a list point to.
type object[T any] interface {
	*T
	metav1.Object
}

// sorted returns the items of a list by namespace and name.
func sorted[T any, P object[T]](items []T) []P {
	all := make([]P, 0, len(items))
	for i := range items {
		all = append(all, P(&items[i]))
	}
	slices.SortStableFunc(all, func(x, y P) int {
		return cmp.Or(cmp.Compare(x.GetNamespace(), y.GetNamespace()), cmp.Compare(x.GetName(), y.GetName()))
	})
	return all
}
