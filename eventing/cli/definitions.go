package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Labels by which Knative finds the kinds that send events, and those that have
// an address.
const (
	labelSource      = "duck.knative.dev/source"
	labelAddressable = "duck.knative.dev/addressable"
)

// definitions returns the installed kinds whose definitions carry a label with
// the value true, in the order of their names, each in its newest version.
func definitions(ctx context.Context, c *cmdline.Cluster, label string) ([]kind, error) {
	var found apiextensionsv1.CustomResourceDefinitionList
	if err := c.List(ctx, &found, client.MatchingLabels{label: "true"}); err != nil {
		return nil, fmt.Errorf("list the installed kinds labelled %s=true: %w", label, err)
	}
	var kinds []kind
	for i := range found.Items {
		definition := &found.Items[i]
		served := servedVersions(definition)
		if len(served) == 0 || definition.Spec.Scope == apiextensionsv1.ClusterScoped {
			continue
		}
		group := schema.GroupVersion{Group: definition.Spec.Group, Version: served[0]}
		kinds = append(kinds, kind{group.WithKind(definition.Spec.Names.Kind), definition})
	}
	slices.SortFunc(kinds, func(a, b kind) int { return strings.Compare(a.Kind+a.Group, b.Kind+b.Group) })
	return kinds, nil
}

// servedVersions are the versions that the API server serves, the newest first
// in Kubernetes' order, where v1 comes before v2beta1.
func servedVersions(definition *apiextensionsv1.CustomResourceDefinition) []string {
	var served []string
	for _, v := range definition.Spec.Versions {
		if v.Served {
			served = append(served, v.Name)
		}
	}
	slices.SortFunc(served, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	return served
}

// in returns the kind in another version, named as v1 or as group/v1.
func (k kind) in(apiVersion string) (kind, error) {
	name := strings.TrimPrefix(apiVersion, k.Group+"/")
	if k.definition != nil {
		served := servedVersions(k.definition)
		if !slices.Contains(served, name) {
			return kind{}, cmdline.Usagef("--api-version %q is no version of %s, which is served as %s/{%s}", apiVersion, k.Kind, k.Group, strings.Join(served, ","))
		}
	}
	k.Version = name
	return k, nil
}

// schema is the schema of a field of the kind's objects, nil where nobody says.
func (k kind) schema(field string) *apiextensionsv1.JSONSchemaProps {
	if k.definition == nil {
		return nil
	}
	for _, v := range k.definition.Spec.Versions {
		if v.Name != k.Version || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		if props, ok := v.Schema.OpenAPIV3Schema.Properties[field]; ok {
			return &props
		}
	}
	return nil
}

// purpose says what the kind is for in the words of its definition.
func (k kind) purpose() string {
	if k.definition == nil {
		return ""
	}
	for _, v := range k.definition.Spec.Versions {
		if v.Name == k.Version && v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			return spaced(v.Schema.OpenAPIV3Schema.Description)
		}
	}
	return ""
}

// learn makes the cluster's client know kinds by the resources that their
// definitions name, as nobody knew them beforehand.
func learn(c *cmdline.Cluster, kinds []kind) error {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, k := range kinds {
		if k.definition == nil {
			mapper.Add(k.GroupVersionKind, meta.RESTScopeNamespace)
			continue
		}
		names := k.definition.Spec.Names
		for _, v := range servedVersions(k.definition) {
			group := schema.GroupVersion{Group: k.Group, Version: v}
			mapper.AddSpecific(group.WithKind(k.Kind), group.WithResource(names.Plural), group.WithResource(names.Singular), meta.RESTScopeNamespace)
		}
	}
	inner, err := client.NewWithWatch(c.Config, client.Options{
		Scheme: c.Scheme(), HTTPClient: c.HTTP,
		Mapper: meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{mapper, c.RESTMapper()}},
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Config.Host, err)
	}
	c.WithWatch = inner
	return nil
}
