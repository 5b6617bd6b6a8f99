package service

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// keptPhase is the kept log of one phase.
type keptPhase struct {
	name  v1alpha1.PhaseName
	layer v1.Layer
}

// keptLog finds the log of a Build whose pod is gone. Where it is follows from
// the Build itself: a status that names another's log opens nothing. It is
// errUnknownSource when no log is kept.
func (s *store) keptLog(ctx context.Context, build *v1alpha1.Build) ([]keptPhase, error) {
	reference := v1alpha1.Platform{Registry: s.registry, RegistryPrefix: s.prefix}.LogReference(build)
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("the kept log of Build %s/%s: %w", build.Namespace, build.Name, err)
	}
	artifact, err := remote.Image(tag, s.options(ctx)...)
	if absent(err) {
		return nil, errUnknownSource
	}
	if err != nil {
		return nil, fmt.Errorf("read the kept log %s: %w", tag, err)
	}
	manifest, err := artifact.Manifest()
	if err != nil {
		return nil, fmt.Errorf("read the kept log %s: %w", tag, err)
	}
	var kept []keptPhase
	for _, descriptor := range manifest.Layers {
		phase := v1alpha1.PhaseName(descriptor.Annotations[v1alpha1.LogPhaseAnnotation])
		if descriptor.MediaType != v1alpha1.LogMediaType || !slices.Contains(phases, phase) {
			continue
		}
		layer, err := artifact.LayerByDigest(descriptor.Digest)
		if err != nil {
			return nil, fmt.Errorf("read the kept log %s: %w", tag, err)
		}
		kept = append(kept, keptPhase{phase, layer})
	}
	return kept, nil
}

// copyKept writes the kept logs of the wanted phases as copyPhases does.
func copyKept(out *flushWriter, kept []keptPhase, query logQuery) error {
	for _, phase := range kept {
		if !slices.Contains(query.phases, phase.name) {
			continue
		}
		fmt.Fprintf(out, "===> %s\n", phase.name)
		if err := copyLayer(out, phase.layer); err != nil {
			return fmt.Errorf("read the kept log of phase %s: %w", phase.name, err)
		}
	}
	return nil
}

func copyLayer(out *flushWriter, layer v1.Layer) error {
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return out.copy(io.LimitReader(content, logBytes))
}
