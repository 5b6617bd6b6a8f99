package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// PhaseLog is the log of one phase.
type PhaseLog struct {
	Phase v1alpha1.PhaseName
	Text  []byte
}

// WriteLog stores a log as an artifact, one layer for each phase. The function
// service hands it out.
func (c Client) WriteLog(ctx context.Context, reference string, phases []PhaseLog) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("keep the log %q: %w", reference, err)
	}
	artifact := mutate.MediaType(mutate.ConfigMediaType(empty.Image, "application/vnd.knit.build.log.config.v1+json"), types.OCIManifestSchema1)
	for _, phase := range phases {
		artifact, err = mutate.Append(artifact, mutate.Addendum{
			Layer:       static.NewLayer(phase.Text, v1alpha1.LogMediaType),
			Annotations: map[string]string{v1alpha1.LogPhaseAnnotation: string(phase.Phase)},
			MediaType:   v1alpha1.LogMediaType,
		})
		if err != nil {
			return fmt.Errorf("keep the log %s: %w", ref, err)
		}
	}
	// Equal texts of two builds must not be one artifact: one may go without the other.
	named := mutate.Annotations(artifact, map[string]string{"dev.knit.build.log": ref.TagStr()}).(v1.Image)
	if err := remote.Write(ref, named, c.options(ctx)...); err != nil {
		return fmt.Errorf("keep the log %s: %w", ref, err)
	}
	return nil
}
