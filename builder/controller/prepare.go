package controller

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// prepare learns from registries what the pod must know. It reports false when
// there is nothing to run any more, or not yet.
func (r *Reconciler) prepare(ctx context.Context, build *v1alpha1.Build, s *settings) (bool, error) {
	if build.Spec.Rebase != nil {
		return r.prepareRebase(ctx, build, s)
	}
	if !s.cluster.Foreign(build) {
		build.Status.BuilderImage = s.images.BuilderImage
		return true, nil
	}
	builder, err := r.registry.Builder(ctx, build.Spec.BuilderImage)
	if errors.Is(err, registry.ErrNotFound) {
		return false, r.invalid(build, "the builder %s is not in its registry", build.Spec.BuilderImage)
	}
	if err != nil {
		return false, r.wait(build, reasonWaiting, err.Error(), platformDelay)
	}
	api := incluster.ChoosePlatformAPI(builder.PlatformAPIs)
	if api == "" {
		return false, r.invalid(build, "the builder %s speaks the platform API in versions %s, and Knit in none of them; use a newer builder", build.Spec.BuilderImage, strings.Join(builder.PlatformAPIs, ", "))
	}
	// Whom the platform allows to name a builder, it does not allow to name
	// every image: the phase that reads the run image can read all of them.
	if s.cluster.RunImage == "" && !s.mayBuildOn(builder.RunImage) {
		return false, r.invalid(build, "the builder %s builds on %q in the platform's own registry; ask for it in the platform's setting allowed-run-images", build.Spec.BuilderImage, builder.RunImage)
	}
	build.Status.BuilderImage = builder.Image
	s.cluster.Builder = &incluster.Builder{
		Image: builder.Image, UserID: builder.UserID, GroupID: builder.GroupID, PlatformAPI: api, RunImage: builder.RunImage,
	}
	return true, nil
}

// prepareRebase settles the base that an image is put on, by digest.
func (r *Reconciler) prepareRebase(ctx context.Context, build *v1alpha1.Build, s *settings) (bool, error) {
	image := s.cluster.Repository(build) + "@" + build.Spec.Rebase.Digest
	base, err := r.registry.Base(ctx, image)
	if errors.Is(err, registry.ErrNotFound) {
		return false, r.invalid(build, "the image %s is not in the registry any more; build it again", image)
	}
	if err != nil {
		return false, r.wait(build, reasonWaiting, err.Error(), platformDelay)
	}
	if !base.Rebasable {
		return false, r.invalid(build, "the image %s cannot be put on another base, because its build changed the base itself; build it again", image)
	}
	target := build.Spec.Rebase.RunImage
	if target == "" {
		target = newestFor(base.RunImage, s.RunImages)
	}
	if !s.mayRebaseOnto(target) {
		return false, r.invalid(build, "the run image %q is not one of the platform's; ask for it in the platform's setting allowed-run-images", target)
	}
	digest, err := r.registry.Digest(ctx, target)
	if errors.Is(err, registry.ErrNotFound) {
		return false, r.invalid(build, "the run image %s is not in its registry", target)
	}
	if err != nil {
		return false, r.wait(build, reasonWaiting, err.Error(), platformDelay)
	}
	build.Status.RunImage = digest
	if digest == base.RunImage {
		r.succeed(build, image)
		return false, nil
	}
	s.cluster.RunImage = digest
	return true, nil
}

// newestFor is the run image of the same repository: the one that the settings
// name, or else what was published last.
func newestFor(present string, newest []string) string {
	i := slices.IndexFunc(newest, func(base string) bool { return v1alpha1.SameRepository(base, present) })
	if i >= 0 {
		return newest[i]
	}
	repository, _, found := strings.Cut(present, "@")
	if !found {
		return ""
	}
	return repository + ":latest"
}

// mayBuildOn keeps a builder from naming another tenant's image as its base. In
// other registries there are none.
func (s settings) mayBuildOn(image string) bool {
	ref, err := name.ParseReference(image)
	if err != nil {
		return false
	}
	own, err := name.NewRegistry(s.images.Registry)
	return err == nil && ref.Context().RegistryStr() != own.RegistryStr() || s.mayRebaseOnto(image)
}

// mayRebaseOnto keeps tenants from reading an image of another by standing on
// it: the phase that rebases can pull everything. What an image says of its own
// base counts for nothing here, for its build may have written it.
func (s settings) mayRebaseOnto(target string) bool {
	own := path.Join(s.images.Registry, s.images.RegistryPrefix, "knit") + "/run-*"
	if v1alpha1.Allowed(target, append([]string{own}, s.AllowedRunImages...)) {
		return true
	}
	return slices.ContainsFunc(append(slices.Clone(s.RunImages), s.RunImage), func(known string) bool {
		return v1alpha1.SameRepository(known, target)
	})
}
