package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BuildSpec is what to build. It never changes: another input is another Build.
//
// It names no repository: the image always goes to the one of its own namespace
// and function, so that nobody can write over another's.
type BuildSpec struct {
	// Function that the image is for, in the same namespace. It is the last
	// part of the image's name.
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Function string `json:"function"`

	// Source is the archive to build.
	Source BuildSource `json:"source"`

	// Language of the source. Detected when empty.
	// +optional
	Language Language `json:"language,omitempty"`

	// BuilderImage runs the buildpacks, by digest. The platform's when empty;
	// another than the platform's is refused by the builder.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	BuilderImage string `json:"builderImage,omitempty"`

	// Env is given to the buildpacks.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []BuildEnv `json:"env,omitempty"`

	// Tag is put on the image besides its digest.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`
	Tag string `json:"tag,omitempty"`

	// DeadlineSeconds is how long the build may take; 900 when empty.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=7200
	DeadlineSeconds *int64 `json:"deadlineSeconds,omitempty"`
}

// BuildSource is the source of a Build.
type BuildSource struct {
	// Archive that the function service keeps for this namespace.
	Archive Archive `json:"archive"`
}

// PhaseName is a step of a build, in the order of this list.
type PhaseName string

// The steps of a build.
const (
	PhaseQueue   PhaseName = "queue"
	PhaseFetch   PhaseName = "fetch"
	PhaseAnalyze PhaseName = "analyze"
	PhaseDetect  PhaseName = "detect"
	PhaseRestore PhaseName = "restore"
	PhaseBuild   PhaseName = "build"
	PhaseExport  PhaseName = "export"
)

// PhaseState is where a step stands.
//
// +kubebuilder:validation:Enum=Pending;Running;Succeeded;Failed
type PhaseState string

// The states of a step.
const (
	PhasePending   PhaseState = "Pending"
	PhaseRunning   PhaseState = "Running"
	PhaseSucceeded PhaseState = "Succeeded"
	PhaseFailed    PhaseState = "Failed"
)

// BuildPhase is one step of a build and its times.
type BuildPhase struct {
	// Name of the step; also the name of its container.
	Name PhaseName `json:"name"`
	// State of the step.
	State PhaseState `json:"state"`
	// StartTime is when the step began.
	// +optional
	StartTime *metav1.MicroTime `json:"startTime,omitempty"`
	// FinishTime is when it ended.
	// +optional
	FinishTime *metav1.MicroTime `json:"finishTime,omitempty"`
}

// BuildStatus is what became of the build.
type BuildStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions hold Succeeded. When it is False, its reason names the step
	// that failed and its message ends with the last lines of its log.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Phases in the order in which they run.
	// +optional
	// +listType=map
	// +listMapKey=name
	Phases []BuildPhase `json:"phases,omitempty"`

	// Image is the whole reference of the built image, by digest.
	// +optional
	Image string `json:"image,omitempty"`

	// SourceDigest of the archive that was built.
	// +optional
	SourceDigest string `json:"sourceDigest,omitempty"`

	// CacheUsed says whether a cache of an earlier build was restored.
	// +optional
	CacheUsed bool `json:"cacheUsed,omitempty"`

	// PodName is the pod of the build, in the namespace of builds.
	// +optional
	PodName string `json:"podName,omitempty"`

	// StartTime is when the build was begun.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// FinishTime is when it succeeded or failed.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`
}

// Build turns one source archive into one image, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={knit}
// +kubebuilder:printcolumn:name="Function",type=string,JSONPath=`.spec.function`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Image",type=string,priority=1,JSONPath=`.status.image`
type Build struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Build never changes; create another one"
	Spec BuildSpec `json:"spec"`
	// +optional
	Status BuildStatus `json:"status,omitzero"`
}

// BuildList is a list of Builds.
//
// +kubebuilder:object:root=true
type BuildList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Build `json:"items"`
}
