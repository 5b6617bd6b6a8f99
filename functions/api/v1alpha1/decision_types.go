package v1alpha1

// BuildInputs are all that decides what an image becomes. Equal inputs are
// built once.
type BuildInputs struct {
	// Hash over the parts, "sha256:" and 64 hexadecimal digits.
	Hash string `json:"hash"`
	// Parts in the order in which they are checked.
	// +optional
	// +listType=map
	// +listMapKey=name
	Parts []BuildInput `json:"parts,omitempty"`
}

// BuildInput is one part of the inputs.
type BuildInput struct {
	// Name of the part, such as "source".
	Name string `json:"name"`
	// Value of the part: a digest, a name, or variables with the digests of
	// their values.
	// +optional
	Value string `json:"value,omitempty"`
}

// DecisionResult is what to do for an image.
//
// +kubebuilder:validation:Enum=reuse;rebase;build
type DecisionResult string

// The results of a decision.
const (
	// DecisionReuse takes the image that is there.
	DecisionReuse DecisionResult = "reuse"
	// DecisionRebase puts the image on a newer base, without building.
	DecisionRebase DecisionResult = "rebase"
	// DecisionBuild builds.
	DecisionBuild DecisionResult = "build"
)

// CheckResult is what one check found.
//
// +kubebuilder:validation:Enum=same;changed;missing
type CheckResult string

// The results of a check.
const (
	CheckSame    CheckResult = "same"
	CheckChanged CheckResult = "changed"
	// CheckMissing: there is nothing to compare with.
	CheckMissing CheckResult = "missing"
)

// BuildDecision is a decision and how it came about.
type BuildDecision struct {
	// Result of the decision.
	Result DecisionResult `json:"result"`
	// Reason in words.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Against is the Build that the inputs were compared with.
	// +optional
	Against string `json:"against,omitempty"`
	// Checks in their order; the first one that is not "same" decided.
	// +optional
	// +listType=map
	// +listMapKey=name
	Checks []BuildCheck `json:"checks,omitempty"`
}

// BuildCheck compares one part of the inputs with what it was.
type BuildCheck struct {
	// Name of the part.
	Name string `json:"name"`
	// Result of the check.
	Result CheckResult `json:"result"`
	// Was is the value that the earlier Build had.
	// +optional
	Was string `json:"was,omitempty"`
	// Is the value now.
	// +optional
	Is string `json:"is,omitempty"`
}
