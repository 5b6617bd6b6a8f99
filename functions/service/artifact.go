package service

import (
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/knit-dev/knit/functions/api/archive"
)

// artifactType says what the artifact is; the archive is its one layer, whose
// digest is the digest of the source. Registries keep what a manifest names,
// and tools for OCI artifacts show and copy it.
const artifactType = "application/vnd.knit.source.v1"

// emptyMediaType and emptyConfig are what an artifact without a config has
// (OCI image specification 1.1, "Guidance for an Empty Descriptor").
const emptyMediaType types.MediaType = "application/vnd.oci.empty.v1+json"

var emptyConfig = static.NewLayer([]byte("{}"), emptyMediaType)

const (
	// titleAnnotation is the name of the file for who pulls it by hand.
	titleAnnotation = "org.opencontainers.image.title"
	// wantedAnnotation is when a source was pushed, or asked for, last.
	wantedAnnotation = "dev.knit.source.wanted"
)

// artifact is the manifest of a source.
type artifact struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// rawManifest is what remote.Put needs of an image.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error)        { return m, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func makeArtifact(digest v1.Hash, size int64, now time.Time) (rawManifest, error) {
	configDigest, err := emptyConfig.Digest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(artifact{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  artifactType,
		Config:        v1.Descriptor{MediaType: emptyMediaType, Digest: configDigest, Size: 2, Data: []byte("{}")},
		Layers: []v1.Descriptor{{
			MediaType: layerMediaType, Digest: digest, Size: size,
			Annotations: map[string]string{titleAnnotation: fmt.Sprintf("source-%.12s.tar.gz", digest.Hex)},
		}},
		Annotations: map[string]string{wantedAnnotation: now.UTC().Format(time.RFC3339)},
	})
}

func readArtifact(raw []byte) (artifact, error) {
	var a artifact
	err := json.Unmarshal(raw, &a)
	return a, err
}

// holds reports whether the manifest is that of a source.
func (a artifact) holds(digest v1.Hash) bool {
	return len(a.Layers) == 1 && a.Layers[0].Digest == digest && a.Layers[0].MediaType == archive.MediaType
}

// wanted is zero for artifacts of a version that did not note it.
func (a artifact) wanted() time.Time {
	at, err := time.Parse(time.RFC3339, a.Annotations[wantedAnnotation])
	if err != nil {
		return time.Time{}
	}
	return at
}
