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

	// Source is what to build.
	Source BuildSource `json:"source"`

	// Language of the source. Detected when empty.
	// +optional
	Language Language `json:"language,omitempty"`

	// BuilderImage runs the buildpacks: any CNB builder that the platform
	// allows. The platform's when empty.
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

	// Background marks a Build that nobody waits for, because the function has
	// an image of this source: one for a new builder or a new base. It comes
	// after the others of its namespace, and one at a time.
	// +optional
	Background bool `json:"background,omitempty"`

	// Request is any text. Another text is another look at a source that may
	// have moved, such as a branch.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Request string `json:"request,omitempty"`

	// Force builds even if there is an image of the same inputs.
	// +optional
	Force bool `json:"force,omitempty"`

	// Rebase puts an image on another run image. Nothing is built then: source,
	// language, builder and env say what the image was built from.
	// +optional
	Rebase *BuildRebase `json:"rebase,omitempty"`
}

// BuildRebase is an image of the function and the run image that it shall have.
type BuildRebase struct {
	// Digest of the image, in the repository of the function.
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	Digest string `json:"digest"`

	// RunImage to stand on. The newest that the platform knows for the image's
	// present one when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[^\s]*$`
	RunImage string `json:"runImage,omitempty"`
}

// BuildSource is the source of a Build: exactly one of archive and git.
//
// +kubebuilder:validation:XValidation:rule="has(self.archive) != has(self.git)",message="set exactly one of source.archive and source.git"
type BuildSource struct {
	// Archive that the function service keeps for this namespace.
	// +optional
	Archive Archive `json:"archive,omitzero"`

	// Git is a folder of a git repository. Its Secret is in the namespace of
	// the Build.
	// +optional
	Git *GitSource `json:"git,omitempty"`

	// Include lists the paths of the repository that git.path needs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Include []string `json:"include,omitempty"`
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
	// PhaseRebase is the only step of a Build that rebases, besides the queue.
	PhaseRebase PhaseName = "rebase"
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
	// Name of the step. Steps of the same trust share a container.
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

	// SourceDigest of the source that was built: of the archive, or of the files
	// that were taken from the repository.
	// +optional
	SourceDigest string `json:"sourceDigest,omitempty"`

	// Inputs are what the image is made from.
	// +optional
	Inputs *BuildInputs `json:"inputs,omitempty"`

	// Decision is why this Build was made, against the one before it.
	// +optional
	Decision *BuildDecision `json:"decision,omitempty"`

	// BuilderImage that ran the buildpacks, by digest.
	// +optional
	BuilderImage string `json:"builderImage,omitempty"`

	// RunImage is the base that the image stands on, by digest.
	// +optional
	RunImage string `json:"runImage,omitempty"`

	// ReusedFrom is an earlier Build of the same inputs, whose image this is.
	// +optional
	ReusedFrom string `json:"reusedFrom,omitempty"`

	// Revision is the commit that was built.
	// +optional
	Revision string `json:"revision,omitempty"`

	// CacheUsed says whether a cache of an earlier build was restored.
	// +optional
	CacheUsed bool `json:"cacheUsed,omitempty"`

	// CacheBytes is the size of the cache that the build left in the registry,
	// compressed; 0 after it was dropped for being over the platform's limit.
	// +optional
	CacheBytes *int64 `json:"cacheBytes,omitempty"`

	// Log is where the log is kept after the pod is gone.
	// +optional
	Log *BuildLog `json:"log,omitempty"`

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

// BuildLog is a log that is kept in the registry.
type BuildLog struct {
	// Reference of the artifact. `knit build logs` reads it.
	Reference string `json:"reference"`
	// Bytes that were kept.
	Bytes int64 `json:"bytes"`
	// Truncated says that the beginning of a phase's log was left out.
	// +optional
	Truncated bool `json:"truncated,omitempty"`
}

// Build turns one source into one image, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={knit}
// +kubebuilder:printcolumn:name="Function",type=string,JSONPath=`.spec.function`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Image",type=string,priority=1,JSONPath=`.status.image`
// +kubebuilder:printcolumn:name="Base",type=string,priority=1,JSONPath=`.status.runImage`
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
