package graph

import (
	"net/url"

	"k8s.io/apimachinery/pkg/runtime/schema"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// destination is the node that a destination names; nil when it names none.
// The namespace is that of the object that holds it.
func (b *builder) destination(d *duckv1.Destination, namespace string) *entry {
	switch {
	case d == nil:
		return nil
	case d.Ref != nil:
		return b.reference(*d.Ref, namespace)
	case d.URI != nil:
		return b.uri(d.URI.String())
	}
	return nil
}

// knitDestination is destination for the form in Knit's own objects.
func (b *builder) knitDestination(d v1alpha1.Destination, namespace string) *entry {
	switch {
	case d.Ref != nil:
		return b.reference(duckv1.KReference{APIVersion: d.Ref.APIVersion, Kind: d.Ref.Kind, Name: d.Ref.Name}, namespace)
	case d.URI != "":
		return b.uri(d.URI)
	}
	return nil
}

func (b *builder) reference(ref duckv1.KReference, namespace string) *entry {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	apiVersion := ref.APIVersion
	if apiVersion == "" && ref.Group != "" {
		apiVersion = ref.Group + "/"
	}
	k := keyOf(apiVersion, ref.Kind, namespace, ref.Name)
	if e := b.entries[k]; e != nil {
		return b.show(e)
	}
	if e := b.standsFor(k); e != nil {
		return b.show(e)
	}
	e := &entry{key: k, apiVersion: ref.APIVersion, class: k.class(), health: b.absent(k)}
	b.entries[k] = e
	return b.show(e)
}

// standsFor finds the Function that a Service belongs to when the Service itself
// was not read.
func (b *builder) standsFor(k key) *entry {
	switch {
	case k.isKnativeService():
		return b.entries[key{v1alpha1.GroupVersion.Group, "Function", k.namespace, k.name}]
	case k.isCoreService():
		whole, _ := normal("http://" + k.name + "." + k.namespace + ".svc")
		return b.byAddress[whole]
	}
	return nil
}

// absent judges an object that nothing was read of.
func (b *builder) absent(k key) Health {
	looked := b.objects.Namespace == "" || b.objects.Namespace == k.namespace
	if looked && b.objects.Listed.Has(schema.GroupKind{Group: k.group, Kind: k.kind}) {
		return Health{State: Missing}
	}
	return Health{State: Unknown, Reason: reasonNotRead}
}

// uri is the object at an address, also when the address is a path below that
// of a Service, or else a node for the address alone.
func (b *builder) uri(raw string) *entry {
	whole, host := normal(raw)
	for _, address := range []string{whole, host} {
		if e := b.byAddress[address]; e != nil {
			return b.show(e)
		}
	}
	raw = withoutPassword(raw)
	k := key{kind: KindURI, name: raw}
	e := b.entries[k]
	if e == nil {
		e = &entry{key: k, class: Other, health: Health{State: Unknown}, addresses: []string{raw}}
		b.entries[k] = e
	}
	return b.show(e)
}

// withoutPassword hides what a person should not have written into a URI.
func withoutPassword(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return raw
}
