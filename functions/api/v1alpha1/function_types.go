package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Language is the programming language of a function.
//
// +kubebuilder:validation:Enum=go;node;python
type Language string

// LanguageGo is Go; a folder with a go.mod is recognised as Go.
const LanguageGo Language = "go"

// Visibility says who can reach a function by HTTP.
//
// +kubebuilder:validation:Enum=external;cluster-local
type Visibility string

const (
	// VisibilityExternal gives the function a URL outside of the cluster.
	VisibilityExternal Visibility = "external"
	// VisibilityClusterLocal gives it an address inside of the cluster only.
	VisibilityClusterLocal Visibility = "cluster-local"
)

// FunctionSpec is what a person wants to run.
type FunctionSpec struct {
	// Language of the source. Detected by the builder when empty.
	// +optional
	Language Language `json:"language,omitempty"`

	// Source is the code, or an image that was built elsewhere.
	Source Source `json:"source"`

	// Build changes how the source becomes an image. It is ignored when the
	// source is an image.
	// +optional
	Build BuildOptions `json:"build,omitzero"`

	// Env is the environment of the running function.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Env []corev1.EnvVar `json:"env,omitempty"`

	// EnvFrom adds all keys of ConfigMaps and Secrets of the same namespace to
	// the environment.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`

	// Resources are the requests and limits of the function's container.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`

	PodOptions `json:",inline"`

	// Scale bounds and steers the number of replicas.
	// +optional
	Scale Scale `json:"scale,omitzero"`

	// Timeout is the longest time a request may take until its first byte of
	// answer and in all, e.g. "30s" or "5m". 5 minutes when empty; the platform
	// may refuse more than 10 minutes.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(ms|s|m|h)){1,4}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="spec.timeout must be between 1s and 24h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// StartTimeout is how long a container of the function may take from its
	// start until it listens, e.g. "3m" for one that loads a large model. 1
	// minute when empty, 1 hour at most.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(ms|s|m|h)){1,4}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="spec.startTimeout must be between 1s and 1h"
	StartTimeout *metav1.Duration `json:"startTimeout,omitempty"`

	// Visibility of the function's URL; external when empty.
	// +optional
	Visibility Visibility `json:"visibility,omitempty"`

	// Traffic splits the requests between revisions; all go to the newest ready
	// one when empty.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.map(t, has(t.percent) ? t.percent : 0).sum() == 100",message="the percents of spec.traffic must add up to 100"
	Traffic []TrafficTarget `json:"traffic,omitempty"`

	// Rollback sends requests to an older revision. "knit rollback" sets it.
	// +optional
	Rollback *Rollback `json:"rollback,omitempty"`

	// Events are delivered to the function as CloudEvents by HTTP. What the
	// function answers, if it is a CloudEvent, goes back to the same broker, or
	// to the reply of the channel or source.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Events []EventSource `json:"events,omitempty"`
}

// Source is where a function comes from: exactly one of archive, git and image.
//
// +kubebuilder:validation:XValidation:rule="[has(self.archive), has(self.git), has(self.image)].filter(x, x).size() == 1",message="set exactly one of source.archive (a pushed folder: run `knit deploy`), source.git and source.image"
// +kubebuilder:validation:XValidation:rule="!has(self.git) || !has(self.path)",message="source.path is a folder beside the manifest; with source.git, the folder in the repository is source.git.path"
// +kubebuilder:validation:XValidation:rule="!has(self.image) || !has(self.include)",message="source.include has no use with source.image, which is not built"
type Source struct {
	// Path is the folder that the archive was made from, relative to the
	// manifest. `knit deploy` reads it; the cluster keeps it for information.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`

	// Include lists the shared folders and files that the function's folder
	// needs, such as ../shared, relative to what path is relative to: the
	// manifest, or with git the root of the repository. The source is then the
	// function's folder and these, below their common root.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Include []string `json:"include,omitempty"`

	// Archive is a folder that was pushed to the function service.
	// +optional
	Archive *Archive `json:"archive,omitempty"`

	// Git is a folder of a git repository, fetched by the build.
	// +optional
	Git *GitSource `json:"git,omitempty"`

	// Image is a ready image, by digest or tag. Nothing is built for it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[^\s]+$`
	Image string `json:"image,omitempty"`
}

// Built reports whether the platform makes the image of the source.
func (s Source) Built() bool { return s.Archive != nil || s.Git != nil }

// Archive is a source archive that the function service keeps for one namespace.
type Archive struct {
	// Digest of the archive, "sha256:" and 64 hexadecimal digits.
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	Digest string `json:"digest"`

	// Path is the function's folder in the archive, when shared paths are in it
	// as well; the archive's root when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
}

// BuildOptions change how source becomes an image.
type BuildOptions struct {
	// Builder is a CNB builder image to build with. The platform's when empty;
	// the platform's setting allowed-builders says which others there are.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[^\s]*$`
	Builder string `json:"builder,omitempty"`

	// Env is given to the buildpacks. Values are plain text: build pods live in
	// a namespace of their own and can read no Secret of anybody.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []BuildEnv `json:"env,omitempty"`
}

// BuildEnv is one variable of a build.
type BuildEnv struct {
	// Name of the variable.
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// Value of the variable.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// ScaleMetric is what the autoscaler measures.
//
// +kubebuilder:validation:Enum=concurrency;rps
type ScaleMetric string

const (
	// MetricConcurrency counts requests in flight per replica.
	MetricConcurrency ScaleMetric = "concurrency"
	// MetricRPS counts requests per second per replica.
	MetricRPS ScaleMetric = "rps"
)

// Scale bounds and steers the number of replicas.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.max == 0 || self.min <= self.max",message="scale.min is more than scale.max"
// +kubebuilder:validation:XValidation:rule="!has(self.metric) || self.metric != 'rps' || has(self.target)",message="scale.metric rps needs scale.target, the requests per second of one replica"
type Scale struct {
	// Min is the number of replicas kept while nothing is asked; 0 when empty.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Min *int32 `json:"min,omitempty"`
	// Initial is the number of replicas that a new revision starts with, before
	// it gets requests; 1 when empty. 0 needs allow-zero-initial-scale of Knative.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Initial *int32 `json:"initial,omitempty"`
	// Max is the largest number of replicas; 0 or empty is the platform's limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Max *int32 `json:"max,omitempty"`
	// Metric is what is measured; concurrency when empty.
	// +optional
	Metric ScaleMetric `json:"metric,omitempty"`
	// Target is the value of the metric that one replica should have.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Target *int32 `json:"target,omitempty"`
	// Concurrency is the number of requests that one replica gets at once, at
	// most; more wait. 0 or empty is no limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Concurrency *int64 `json:"concurrency,omitempty"`
	// Burst is how many requests more than the replicas are sized for come
	// through Knative's activator, which buffers; -1 all of them, 0 none unless
	// the function is at zero. The platform's setting when empty.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	// +kubebuilder:validation:Maximum=1000000
	Burst *int32 `json:"burst,omitempty"`
	// IdleAfter keeps the last replica for this long after the last request,
	// e.g. "5m", at most one hour. The platform's setting when empty.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,4}(s|m|h)){1,3}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('1h')",message="scale.idleAfter must be at most 1h"
	IdleAfter *metav1.Duration `json:"idleAfter,omitempty"`
}

// FunctionStatus is what Knit found and did.
type FunctionStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are Built, Deployed, Wired, and Ready, which sums them up.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// URL is where the function is called; with a port where the platform's
	// gateway has one that is not the usual.
	// +optional
	URL string `json:"url,omitempty"`

	// Address is where the function is called inside of the cluster. It makes a
	// Function addressable in the sense of Knative.
	// +optional
	Address *Address `json:"address,omitempty"`

	// Image is the image of the wanted source, by digest when it was built here.
	// +optional
	Image string `json:"image,omitempty"`

	// SourceDigest is the digest of the source that Image was built from.
	// +optional
	SourceDigest string `json:"sourceDigest,omitempty"`

	// SourceRevision is the commit that Image was built from.
	// +optional
	SourceRevision string `json:"sourceRevision,omitempty"`

	// ObservedRebuild is the value of the annotation knit.dev/rebuild that this
	// status is about.
	// +optional
	ObservedRebuild string `json:"observedRebuild,omitempty"`

	// LatestReadyRevision is the Knative Revision that answers requests.
	// +optional
	LatestReadyRevision string `json:"latestReadyRevision,omitempty"`

	// Traffic is how requests are shared out now.
	// +optional
	// +listType=atomic
	Traffic []TrafficShare `json:"traffic,omitempty"`

	// Replicas is how many pods of that Revision run: 0 when it is scaled to
	// zero, absent when Knative has not said yet.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// BuildRef is the name of the Build of the wanted source, in the same namespace.
	// +optional
	BuildRef string `json:"buildRef,omitempty"`

	// SourceKinds are the kinds of the sources that were made for the function:
	// among them is looked for those that are no longer wanted.
	// +optional
	// +listType=atomic
	SourceKinds []SourceKind `json:"sourceKinds,omitempty"`

	// Decision is what the last look at the inputs of the image decided, check
	// by check.
	// +optional
	Decision *BuildDecision `json:"decision,omitempty"`
}

// SourceKind is a kind of source.
type SourceKind struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Address is an address of the shape that Knative's Addressable has.
type Address struct {
	// URL to which events and requests are sent.
	URL string `json:"url"`
}

// Function is code that runs when it is called.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=fn,categories={all,knit}
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="Revision",type=string,priority=1,JSONPath=`.status.latestReadyRevision`
// +kubebuilder:printcolumn:name="Image",type=string,priority=1,JSONPath=`.status.image`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="the name of a Function becomes a host name: at most 50 of a-z, 0-9 and '-', beginning with a letter"
type Function struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec FunctionSpec `json:"spec"`
	// +optional
	Status FunctionStatus `json:"status,omitzero"`
}

// FunctionList is a list of Functions.
//
// +kubebuilder:object:root=true
type FunctionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Function `json:"items"`
}
