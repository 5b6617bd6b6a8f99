package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every kind of Knit.
const Group = "knit.dev"

// GroupVersion is the group and version that this package describes.
var GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

// Names of the kinds, as they stand in a manifest.
const (
	KindFunction = "Function"
	KindBuild    = "Build"
	KindSchedule = "Schedule"
)

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme registers the kinds of this package with a scheme.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Function{}, &FunctionList{},
		&Build{}, &BuildList{},
		&Schedule{}, &ScheduleList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
