// Package v1alpha1 holds every kind of the API group knit.dev: Function, Build
// and Schedule, with their conditions, defaults and validation.
//
// The command line, the controllers and the function service all speak through
// these types. The package decides nothing and talks to nobody: it imports
// Kubernetes' machinery and nothing else of Knit.
//
// Types that take part in the API server's schema are written so that whatever
// passes the schema can also be decoded. One tenant's odd object must never
// stop the list that a controller reads for everybody; that is why durations
// carry a pattern and destinations hold their URI as a string.
//
// +kubebuilder:object:generate=true
// +groupName=knit.dev
package v1alpha1

//go:generate go tool controller-gen object paths=. crd:crdVersions=v1 output:crd:dir=../../../deploy/manifests/crds
