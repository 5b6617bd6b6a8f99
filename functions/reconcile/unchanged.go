package reconcile

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxMarks bounds the memory of a Memory; what falls out is applied once more.
const maxMarks = 10_000

// Memory knows what was applied to which object. A controller passes over an
// object each time that something about its children changes, and applying the
// same again costs the API server, and the webhooks that it asks, as much as a
// change. It is lost with the process, which costs one write for each object.
type Memory struct{ marks *lru.Cache }

// NewMemory returns one that knows nothing.
func NewMemory() *Memory { return &Memory{marks: lru.New(maxMarks)} }

// mark is what an object looked like after an apply. Status is not part of it.
type mark struct {
	wanted, metadata [sha256.Size]byte
	generation       int64
}

// Digest identifies what is wanted of an object, before it is applied.
type Digest [sha256.Size]byte

// Wanted returns the digest of an object to apply.
func Wanted(obj client.Object) (Digest, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return Digest{}, fmt.Errorf("write %s/%s as JSON: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	return sha256.Sum256(data), nil
}

// Holds tells whether an object, as it is stored, is what the last apply of the
// same made of it: nobody has changed it since.
func (m *Memory) Holds(stored client.Object, wanted Digest) bool {
	last, found := m.marks.Get(stored.GetUID())
	return found && stored.GetUID() != types.UID("") && last == markOf(stored, wanted)
}

// Note remembers an object as the API server returned it from an apply.
func (m *Memory) Note(stored client.Object, wanted Digest) {
	m.marks.Add(stored.GetUID(), markOf(stored, wanted))
}

// markOf compares metadata by value: the generation counts changes of the spec
// alone.
func markOf(stored client.Object, wanted Digest) mark {
	// Maps of strings and owners can always be written.
	data, _ := json.Marshal([]any{stored.GetLabels(), stored.GetAnnotations(), stored.GetOwnerReferences(), stored.GetDeletionTimestamp()})
	return mark{wanted: wanted, metadata: sha256.Sum256(data), generation: stored.GetGeneration()}
}
