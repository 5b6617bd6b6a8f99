package service

import (
	"net/http"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/emission"
)

// apiGroup is the group's entry in discovery.
func apiGroup() metav1.APIGroup {
	version := metav1.GroupVersionForDiscovery{GroupVersion: Group + "/" + Version, Version: Version}
	return metav1.APIGroup{
		TypeMeta:         metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
		Name:             Group,
		Versions:         []metav1.GroupVersionForDiscovery{version},
		PreferredVersion: version,
	}
}

// apiResources are what "kubectl api-resources" lists.
func apiResources() metav1.APIResourceList {
	return metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: Group + "/" + Version,
		APIResources: []metav1.APIResource{
			{Name: resourceSources, SingularName: "source", Namespaced: true, Kind: "Source", Verbs: metav1.Verbs{"get", "update"}},
			{Name: resourceBuilds + "/log", Namespaced: true, Kind: "Build", Verbs: metav1.Verbs{"get"}},
			{Name: resourceBuilds + "/sbom", Namespaced: true, Kind: "Build", Verbs: metav1.Verbs{"get"}},
			{Name: resourceFunctions + "/log", Namespaced: true, Kind: "Function", Verbs: metav1.Verbs{"get"}},
			{Name: resourceFunctions + "/" + subresourceInvoke, Namespaced: true, Kind: "Function", Verbs: metav1.Verbs{"create"}},
			{Name: emission.Brokers + "/" + subresourceEvents, Namespaced: true, Kind: "Broker", Verbs: metav1.Verbs{"create"}},
			{Name: emission.Brokers + "/log", Namespaced: true, Kind: "Broker", Verbs: metav1.Verbs{"get"}},
			{Name: emission.Channels + "/" + subresourceEvents, Namespaced: true, Kind: "Channel", Verbs: metav1.Verbs{"create"}},
			{Name: emission.Channels + "/log", Namespaced: true, Kind: "Channel", Verbs: metav1.Verbs{"get"}},
			{Name: resourceDeadLetters, SingularName: "deadletter", Namespaced: true, Kind: "DeadLetter", Verbs: deadLetterVerbs},
			{Name: resourceRedrives, SingularName: "redrive", Namespaced: true, Kind: "Redrive", Verbs: metav1.Verbs{"create"}},
		},
	}
}

// deadLetterVerbs leaves out "list": a list of letters is no list of objects,
// and "kubectl get all" must not ask for it.
var deadLetterVerbs = metav1.Verbs{"get", "deletecollection"}

// aggregatedVersion is the same in the form that kube-apiserver and kubectl ask
// for first: one document about all groups.
func aggregatedVersion() discoveryv2.APIVersionDiscovery {
	kind := func(kind string) *metav1.GroupVersionKind {
		return &metav1.GroupVersionKind{Group: Group, Version: Version, Kind: kind}
	}
	return discoveryv2.APIVersionDiscovery{
		Version:   Version,
		Freshness: discoveryv2.DiscoveryFreshnessCurrent,
		Resources: []discoveryv2.APIResourceDiscovery{
			{Resource: resourceSources, SingularResource: "source", Scope: discoveryv2.ScopeNamespace, ResponseKind: kind("Source"), Verbs: []string{"get", "update"}},
			// Without a kind it is no resource by itself: "kubectl get builds"
			// must keep meaning those of knit.dev.
			{Resource: resourceBuilds, Scope: discoveryv2.ScopeNamespace, ResponseKind: &metav1.GroupVersionKind{}, Verbs: []string{},
				Subresources: []discoveryv2.APISubresourceDiscovery{
					{Subresource: "log", ResponseKind: kind("Build"), Verbs: []string{"get"}},
					{Subresource: "sbom", ResponseKind: kind("Build"), Verbs: []string{"get"}},
				}},
			{Resource: resourceFunctions, Scope: discoveryv2.ScopeNamespace, ResponseKind: &metav1.GroupVersionKind{}, Verbs: []string{},
				Subresources: []discoveryv2.APISubresourceDiscovery{
					{Subresource: "log", ResponseKind: kind("Function"), Verbs: []string{"get"}},
					{Subresource: subresourceInvoke, ResponseKind: kind("Function"), Verbs: []string{"create"}},
				}},
			{Resource: emission.Brokers, Scope: discoveryv2.ScopeNamespace, ResponseKind: &metav1.GroupVersionKind{}, Verbs: []string{},
				Subresources: []discoveryv2.APISubresourceDiscovery{
					{Subresource: subresourceEvents, ResponseKind: kind("Broker"), Verbs: []string{"create"}},
					{Subresource: "log", ResponseKind: kind("Broker"), Verbs: []string{"get"}},
				}},
			{Resource: emission.Channels, Scope: discoveryv2.ScopeNamespace, ResponseKind: &metav1.GroupVersionKind{}, Verbs: []string{},
				Subresources: []discoveryv2.APISubresourceDiscovery{
					{Subresource: subresourceEvents, ResponseKind: kind("Channel"), Verbs: []string{"create"}},
					{Subresource: "log", ResponseKind: kind("Channel"), Verbs: []string{"get"}},
				}},
			{Resource: resourceDeadLetters, SingularResource: "deadletter", Scope: discoveryv2.ScopeNamespace, ResponseKind: kind("DeadLetter"), Verbs: deadLetterVerbs},
			{Resource: resourceRedrives, SingularResource: "redrive", Scope: discoveryv2.ScopeNamespace, ResponseKind: kind("Redrive"), Verbs: []string{"create"}},
		},
	}
}

func serveGroup(w http.ResponseWriter, r *http.Request)     { serveDocument(w, r, apiGroup()) }
func serveResources(w http.ResponseWriter, r *http.Request) { serveDocument(w, r, apiResources()) }

func serveDocument(w http.ResponseWriter, r *http.Request, document any) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeError(w, r, methodNotAllowed(w, r, "GET, HEAD"))
		return
	}
	writeJSON(w, http.StatusOK, document)
}
