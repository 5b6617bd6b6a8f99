package v1alpha1

// Labels that Knit puts on the objects it makes.
const (
	// LabelFunction names the Function that an object was made for. It is on
	// Builds, Knative Services, their pods, and Triggers.
	LabelFunction = "knit.dev/function"
	// LabelBuild names the Build that an object was made for.
	LabelBuild = "knit.dev/build"
	// LabelBuildNamespace is the namespace of that Build, for objects that live
	// elsewhere, such as build pods.
	LabelBuildNamespace = "knit.dev/build-namespace"
)

// AnnotationSourceDigest is on the revision of a Function: the digest of the
// source archive that its image was built from.
const AnnotationSourceDigest = "knit.dev/source-digest"

// AnnotationCancel on a Build, with any value but "", asks for its end. The
// Build stays, as cancelled, in the history.
const AnnotationCancel = "knit.dev/cancel"
