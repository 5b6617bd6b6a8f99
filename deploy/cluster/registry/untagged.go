package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// revision is one manifest of one repository.
type revision struct {
	digest digest.Digest
	tagged bool
	young  bool            // within the grace period
	refs   []digest.Digest // what it names: layers, or the manifests of an index
}

// unused tells which manifests of one repository nobody needs: those that are
// not tagged, not young, not in use, and not part of one that is.
func unused(all []revision, inUse map[digest.Digest]bool) []digest.Digest {
	byDigest := make(map[digest.Digest]revision, len(all))
	var keep []digest.Digest
	for _, r := range all {
		byDigest[r.digest] = r
		if r.tagged || r.young || inUse[r.digest] {
			keep = append(keep, r.digest)
		}
	}
	needed := map[digest.Digest]bool{}
	for len(keep) > 0 {
		d := keep[len(keep)-1]
		keep = keep[:len(keep)-1]
		if needed[d] {
			continue
		}
		needed[d] = true
		keep = append(keep, byDigest[d].refs...)
	}
	var out []digest.Digest
	for _, r := range all {
		if !needed[r.digest] {
			out = append(out, r.digest)
		}
	}
	slices.Sort(out)
	return out
}

// digestsOf reads references of the form repository@digest. One that cannot be
// read is an error: it may be the name of an image that must not be lost.
func digestsOf(references []string) (map[digest.Digest]bool, error) {
	out := make(map[digest.Digest]bool, len(references))
	for _, reference := range references {
		at := strings.LastIndex(reference, "@")
		d, err := digest.Parse(reference[at+1:])
		if at < 0 || err != nil {
			return nil, fmt.Errorf("image in use %q is not of the form repository@digest", reference)
		}
		out[d] = true
	}
	return out, nil
}
