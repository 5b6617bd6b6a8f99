package v1alpha1

// TrafficTarget is a share of the requests for one revision of a function.
//
// +kubebuilder:validation:XValidation:rule="has(self.percent) || has(self.tag)",message="a traffic target needs percent, or tag, or both"
type TrafficTarget struct {
	// Revision is the name of a revision, e.g. "hello-00002"; the newest that is
	// ready when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Revision string `json:"revision,omitempty"`
	// Percent of the requests to the function's URL. All targets add up to 100.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int64 `json:"percent,omitempty"`
	// Tag gives the revision a URL of its own, "http://<tag>-<function>.…".
	// +optional
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Tag string `json:"tag,omitempty"`
}

// Rollback sends all requests to an older revision for as long as From is the
// newest one that is ready. The next revision that becomes ready ends it by
// itself: what is rolled back is one deployment, not all that come after it.
type Rollback struct {
	// From is the revision that turned out to be wrong.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	From string `json:"from"`
	// To is the revision that answers instead.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	To string `json:"to"`
}

// TrafficShare is what one revision of a function gets, as Knative reports it.
type TrafficShare struct {
	// Revision that gets the share.
	Revision string `json:"revision"`
	// Latest says that the share follows the newest revision that is ready.
	// +optional
	Latest bool `json:"latest,omitempty"`
	// Percent of the requests.
	// +optional
	Percent int64 `json:"percent,omitempty"`
	// Tag of the revision.
	// +optional
	Tag string `json:"tag,omitempty"`
	// URL of the tag.
	// +optional
	URL string `json:"url,omitempty"`
}
