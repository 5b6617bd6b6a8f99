package cmdline

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
)

// clusterScoped are the kinds outside any namespace that a command touches.
var clusterScoped = sets.New("Namespace", "Node", "CustomResourceDefinition", "APIService", "ClusterRole", "ClusterRoleBinding")

// staticMapper maps every kind of the scheme to its resource by Kubernetes'
// naming rule, so that no discovery is needed for kinds known beforehand.
func staticMapper(scheme *runtime.Scheme) meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(scheme.PrioritizedVersionsAllGroups())
	for kind := range scheme.AllKnownTypes() {
		scope := meta.RESTScope(meta.RESTScopeNamespace)
		if clusterScoped.Has(kind.Kind) {
			scope = meta.RESTScopeRoot
		}
		mapper.Add(kind, scope)
	}
	return mapper
}
