package v1alpha1

// GitSource is a folder of a git repository.
type GitSource struct {
	// URL of the repository: https://host/path, ssh://git@host/path or
	// git@host:path. It holds no password; see secretName.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https://[^@/]+/.+|ssh://[^-].*|[^-@/:][^@/:]*@[^-].*:.+)$')",message="git.url is one of https://host/path, ssh://git@host/path and git@host:path, without a password: put that into a Secret and name it in git.secretName"
	URL string `json:"url"`

	// Revision is a branch, a tag or a full commit; the default branch when
	// empty. A branch is looked at when a build starts, and again when the
	// annotation knit.dev/rebuild of the Function changes.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[^-\s~^:?*\[\\][^\s~^:?*\[\\]*$`
	Revision string `json:"revision,omitempty"`

	// Path is the function's folder in the repository; its root when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`

	// SecretName is a Secret of the same namespace with the login: of type
	// kubernetes.io/basic-auth (and ca.crt, for a server with an authority of
	// its own) or kubernetes.io/ssh-auth (with known_hosts). Its annotation
	// knit.dev/git-hosts names the hosts that the login may be sent to.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SecretName string `json:"secretName,omitempty"`

	// Submodules fetches the repository's submodules, too.
	// +optional
	Submodules bool `json:"submodules,omitempty"`
}
