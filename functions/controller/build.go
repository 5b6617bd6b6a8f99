package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// build sees to an image of the wanted source.
func (r *Reconciler) build(ctx context.Context, fn *v1alpha1.Function) error {
	if fn.Spec.Source.Archive == nil {
		fn.Status.Image, fn.Status.SourceDigest, fn.Status.BuildRef = fn.Spec.Source.Image, "", ""
		fn.Set(v1alpha1.True(v1alpha1.ConditionBuilt, v1alpha1.ReasonImageGiven, ""))
		return nil
	}
	b, outcome := r.findOrCreateBuild(ctx, fn)
	if outcome != nil {
		return outcome
	}
	fn.Status.BuildRef = b.Name
	ended, succeeded := b.Done()
	switch {
	case !ended:
		fn.Set(v1alpha1.Unknown(v1alpha1.ConditionBuilt, v1alpha1.ReasonBuilding, describe(b)))
	case !succeeded:
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionSucceeded)
		fn.Set(v1alpha1.False(v1alpha1.ConditionBuilt, c.Reason, c.Message))
	default:
		fn.Status.Image, fn.Status.SourceDigest = b.Status.Image, b.Spec.Source.Archive.Digest
		fn.Set(v1alpha1.True(v1alpha1.ConditionBuilt, v1alpha1.ReasonSucceeded, ""))
	}
	return nil
}

func (r *Reconciler) findOrCreateBuild(ctx context.Context, fn *v1alpha1.Function) (*v1alpha1.Build, error) {
	key := client.ObjectKey{Namespace: fn.Namespace, Name: buildName(fn)}
	var existing v1alpha1.Build
	err := r.client.Get(ctx, key, &existing)
	if err == nil && existing.DeletionTimestamp.IsZero() && reconcile.Owns(fn, &existing) {
		return &existing, nil
	}
	if err == nil {
		// Most likely it belonged to a deleted Function of the same name and is
		// about to go; its going is not watched, for it is not ours.
		message := fmt.Sprintf("Build %s is there and not of this Function; delete it, or wait until it is deleted", key)
		fn.Set(v1alpha1.Unknown(v1alpha1.ConditionBuilt, v1alpha1.ReasonNameTaken, message))
		return nil, reconcile.Wait(message, retryTaken/15)
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read Build %s: %w", key, err)
	}
	platform, missing, err := r.platform(ctx)
	if err != nil {
		return nil, err
	}
	if missing != "" {
		fn.Set(v1alpha1.False(v1alpha1.ConditionBuilt, v1alpha1.ReasonPlatformNotFound, missing))
		return nil, reconcile.Wait(missing, 0)
	}
	b := makeBuild(fn, platform)
	if err := reconcile.Apply(ctx, r.client, fn, b); err != nil {
		return nil, refuse(fn, v1alpha1.ConditionBuilt, err)
	}
	return b, nil
}

// describe says how far a build is.
func describe(b *v1alpha1.Build) string {
	for _, phase := range b.Status.Phases {
		if phase.State == v1alpha1.PhaseRunning {
			return fmt.Sprintf("Build %s is at %s", b.Name, phase.Name)
		}
	}
	return fmt.Sprintf("Build %s is waiting", b.Name)
}

func makeBuild(fn *v1alpha1.Function, platform v1alpha1.Platform) *v1alpha1.Build {
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fn.Namespace, Name: buildName(fn),
			Labels: map[string]string{v1alpha1.LabelFunction: fn.Name},
		},
		Spec: v1alpha1.BuildSpec{
			Function:     fn.Name,
			Source:       v1alpha1.BuildSource{Archive: *fn.Spec.Source.Archive},
			Language:     fn.Spec.Language,
			BuilderImage: platform.BuilderImage,
			Env:          fn.Spec.Build.Env,
		},
	}
}

// buildName is the name of the Build for a Function's inputs: the same inputs
// have the same name, so nothing that did not change is built again.
//
// The builder's image is not an input. A new builder serves the next build; it
// does not have every function of a cluster built at once.
func buildName(fn *v1alpha1.Function) string {
	env := slices.Clone(fn.Spec.Build.Env)
	slices.SortFunc(env, func(a, b v1alpha1.BuildEnv) int { return strings.Compare(a.Name, b.Name) })
	inputs, err := json.Marshal(struct {
		Digest   string
		Language v1alpha1.Language
		Env      []v1alpha1.BuildEnv
	}{fn.Spec.Source.Archive.Digest, fn.Spec.Language, env})
	if err != nil {
		panic("strings do not marshal: " + err.Error())
	}
	sum := sha256.Sum256(inputs)
	return fn.Name + "-" + hex.EncodeToString(sum[:5])
}
