package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Types of conditions.
const (
	// ConditionReady sums up an object: a request would succeed now.
	ConditionReady = "Ready"
	// ConditionBuilt: there is an image of the wanted source.
	ConditionBuilt = "Built"
	// ConditionDeployed: the Knative Service answers with that image.
	ConditionDeployed = "Deployed"
	// ConditionWired: the wanted events reach the function.
	ConditionWired = "Wired"
	// ConditionSucceeded: a Build has made its image.
	ConditionSucceeded = "Succeeded"
	// ConditionRecorded: log, base and cache of an ended Build are written down.
	ConditionRecorded = "Recorded"
)

// Reasons that callers branch on.
const (
	ReasonSucceeded         = "Succeeded"
	ReasonReady             = "Ready"
	ReasonImageGiven        = "ImageGiven"
	ReasonBuilding          = "Building"
	ReasonWaitingForBuild   = "WaitingForBuild"
	ReasonDeploying         = "Deploying"
	ReasonWiring            = "Wiring"
	ReasonNoEvents          = "NoEvents"
	ReasonBrokerNotFound    = "BrokerNotFound"
	ReasonChannelNotFound   = "ChannelNotFound"
	ReasonSourceNotFound    = "SourceKindNotFound"
	ReasonInvalid           = "Invalid"
	ReasonForbidden         = "Forbidden"
	ReasonRetrying          = "Retrying"
	ReasonPlatformNotFound  = "PlatformNotFound"
	ReasonPlatformInvalid   = "PlatformInvalid"
	ReasonCancelled         = "Cancelled"
	ReasonReused            = "Reused"
	ReasonRebuilding        = "Rebuilding"
	ReasonRebuildFailed     = "RebuildFailed"
	ReasonNameTaken         = "NameTaken"
	ReasonSuspended         = "Suspended"
	ReasonSinkNotFound      = "SinkNotFound"
	ReasonReferenceNotFound = "ReferenceNotFound"
	ReasonSinkNotReady      = "SinkNotReady"
	ReasonDelivering        = "Delivering"
	ReasonNeverDue          = "NeverDue"
	ReasonPaused            = "Paused"
	ReasonOver              = "Over"
	ReasonPending           = "Pending"
)

// Reasons why a revision does not start.
const (
	// The image: not in its registry, not for those who ask without the right
	// login, for other machines, no image at all, or a registry that is silent.
	ReasonImageNotFound       = "ImageNotFound"
	ReasonImageForbidden      = "ImageForbidden"
	ReasonImageWrongPlatform  = "ImageWrongPlatform"
	ReasonImageInvalid        = "ImageInvalid"
	ReasonImagePullFailed     = "ImagePullFailed"
	ReasonRegistryUnavailable = "RegistryUnavailable"

	// The pod: too much for its namespace, refused for another cause, or no
	// node has room.
	ReasonQuotaExceeded = "QuotaExceeded"
	ReasonPodRefused    = "PodRefused"
	ReasonUnschedulable = "Unschedulable"

	// The container: what it refers to is incomplete, its program is none, it
	// ends, needs too much memory, runs and does not listen, or none of these
	// within its time.
	ReasonReferenceInvalid = "ReferenceInvalid"
	ReasonCannotRun        = "CannotRun"
	ReasonCrashed          = "Crashed"
	ReasonOutOfMemory      = "OutOfMemory"
	ReasonNotListening     = "NotListening"
	ReasonStartTimeout     = "StartTimeout"

	// ReasonRevisionNotFound: traffic is wanted for a revision that is not there.
	ReasonRevisionNotFound = "RevisionNotFound"
)

// True is a condition that holds.
func True(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

// False is a condition that does not hold, and will not without a change.
func False(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// Unknown is a condition that is being worked on.
func Unknown(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}

// functionParts are the conditions that Ready of a Function sums up, in the
// order in which the first one that does not hold is shown.
var functionParts = []string{ConditionBuilt, ConditionDeployed, ConditionWired}

// Set puts a condition about the present generation into the status.
func (f *Function) Set(c metav1.Condition) {
	c.ObservedGeneration = f.Generation
	meta.SetStatusCondition(&f.Status.Conditions, c)
}

// Holds reports whether a condition is True for the present generation.
func (f *Function) Holds(kind string) bool {
	return holds(f.Status.Conditions, kind, f.Generation)
}

// Summarize sets Ready and the observed generation from the other conditions. A
// condition about an older generation counts as unknown: Ready is never True
// for a spec that was not worked on.
func (f *Function) Summarize() {
	f.Status.ObservedGeneration = f.Generation
	f.Set(ready(f.Status.Conditions, f.Generation))
}

func ready(conditions []metav1.Condition, generation int64) metav1.Condition {
	var waiting *metav1.Condition
	for _, kind := range functionParts {
		c := current(conditions, kind, generation)
		if c.Status == metav1.ConditionFalse {
			return False(ConditionReady, c.Reason, c.Message)
		}
		if c.Status == metav1.ConditionUnknown && waiting == nil {
			waiting = &c
		}
	}
	if waiting != nil {
		return Unknown(ConditionReady, waiting.Reason, waiting.Message)
	}
	return True(ConditionReady, ReasonReady, "")
}

// current is the condition of that kind, or an unknown one when it is missing
// or about another generation.
func current(conditions []metav1.Condition, kind string, generation int64) metav1.Condition {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.ObservedGeneration != generation {
		return Unknown(kind, ReasonPending, "waiting for "+kind)
	}
	return *c
}

func holds(conditions []metav1.Condition, kind string, generation int64) bool {
	return current(conditions, kind, generation).Status == metav1.ConditionTrue
}

// Set puts a condition about the present generation into the status.
func (b *Build) Set(c metav1.Condition) {
	c.ObservedGeneration = b.Generation
	b.Status.ObservedGeneration = b.Generation
	meta.SetStatusCondition(&b.Status.Conditions, c)
}

// Done reports whether the build has ended, and whether it has an image.
func (b *Build) Done() (ended, succeeded bool) {
	c := meta.FindStatusCondition(b.Status.Conditions, ConditionSucceeded)
	if c == nil || c.Status == metav1.ConditionUnknown {
		return false, false
	}
	return true, c.Status == metav1.ConditionTrue
}

// Set puts a condition about the present generation into the status.
func (s *Schedule) Set(c metav1.Condition) {
	c.ObservedGeneration = s.Generation
	s.Status.ObservedGeneration = s.Generation
	meta.SetStatusCondition(&s.Status.Conditions, c)
}
