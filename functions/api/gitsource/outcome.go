package gitsource

// Outcome is what the fetch program reports of a clone that succeeded, as JSON
// in its container's termination message, and the Build controller reads.
type Outcome struct {
	// Revision is the full hash of the commit.
	Revision string `json:"revision"`
	// Digest is that of the files, "sha256:" and 64 hexadecimal digits.
	Digest string `json:"digest"`
}
