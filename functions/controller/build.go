package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// build sees to an image of the wanted source. What is decided, and why, is in
// functions/api/decision; this only carries it out.
func (r *Reconciler) build(ctx context.Context, fn *v1alpha1.Function) error {
	if !fn.Spec.Source.Built() {
		observeRebuild(fn)
		fn.Status.Image, fn.Status.SourceDigest, fn.Status.SourceRevision = fn.Spec.Source.Image, "", ""
		fn.Status.BuildRef, fn.Status.Decision = "", nil
		fn.Set(v1alpha1.True(v1alpha1.ConditionBuilt, v1alpha1.ReasonImageGiven, ""))
		return nil
	}
	builds, err := r.builds(ctx, fn)
	if err != nil {
		return err
	}
	s, err := r.settings(ctx)
	if err != nil {
		return err
	}
	answer := decision.Decide(s.question(fn, builds))
	if s.fault != "" {
		return withoutPlatform(fn, answer, s)
	}
	fn.Status.Decision = &answer.BuildDecision
	next := answer.Next
	if next == nil && answer.Result != v1alpha1.DecisionReuse {
		created, outcome := r.createBuild(ctx, fn, makeBuild(fn, answer, s.BuilderImage))
		if outcome != nil {
			return outcome
		}
		next = created
	}
	observeRebuild(fn)
	if answer.Use != nil {
		use(fn, answer, next)
		return nil
	}
	await(fn, next)
	return nil
}

// withoutPlatform keeps what was built while the settings are at fault.
func withoutPlatform(fn *v1alpha1.Function, answer decision.Answer, s settings) error {
	if answer.Use != nil {
		answer.Next = nil
		use(fn, answer, nil)
		return nil
	}
	fn.Set(v1alpha1.False(v1alpha1.ConditionBuilt, s.reason, s.fault))
	return reconcile.Wait(s.fault, 0)
}

// use takes the image of a succeeded Build. A rebuild or rebase that goes on
// meanwhile, or failed, is told and takes nothing away.
func use(fn *v1alpha1.Function, answer decision.Answer, next *v1alpha1.Build) {
	b := answer.Use
	fn.Status.BuildRef, fn.Status.Image, fn.Status.SourceRevision = b.Name, b.Status.Image, b.Status.Revision
	if fn.Status.SourceDigest = b.Status.SourceDigest; b.Spec.Source.Git == nil {
		fn.Status.SourceDigest = b.Spec.Source.Archive.Digest
	}
	reason, message := v1alpha1.ReasonSucceeded, ""
	if next != nil {
		reason, message = v1alpha1.ReasonRebuilding, fmt.Sprintf("%s, so Build %s makes a new image; the former one serves meanwhile", answer.Reason, next.Name)
		if ended, _ := next.Done(); ended {
			reason, message = v1alpha1.ReasonRebuildFailed, fmt.Sprintf("%s, but Build %s failed and the former image goes on serving: %s", answer.Reason, next.Name, failure(next).Message)
		}
	}
	fn.Set(v1alpha1.True(v1alpha1.ConditionBuilt, reason, message))
}

// await says how far the first image of a source is.
func await(fn *v1alpha1.Function, b *v1alpha1.Build) {
	fn.Status.BuildRef = b.Name
	if ended, _ := b.Done(); ended {
		c := failure(b)
		fn.Set(v1alpha1.False(v1alpha1.ConditionBuilt, c.Reason, c.Message))
		return
	}
	fn.Set(v1alpha1.Unknown(v1alpha1.ConditionBuilt, v1alpha1.ReasonBuilding, describe(b)))
}

func failure(b *v1alpha1.Build) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// builds are the Builds of a Function: those that it made, and those that
// somebody made for it, which it takes for its own.
func (r *Reconciler) builds(ctx context.Context, fn *v1alpha1.Function) ([]v1alpha1.Build, error) {
	var all v1alpha1.BuildList
	if err := r.client.List(ctx, &all, client.InNamespace(fn.Namespace)); err != nil {
		return nil, fmt.Errorf("list the Builds of namespace %s: %w", fn.Namespace, err)
	}
	var own []v1alpha1.Build
	for _, b := range all.Items {
		if b.Spec.Function != fn.Name || !b.DeletionTimestamp.IsZero() {
			continue
		}
		if metav1.GetControllerOf(&b) == nil {
			if err := r.adopt(ctx, fn, &b); err != nil {
				return nil, err
			}
		}
		if reconcile.Owns(fn, &b) {
			own = append(own, b)
		}
	}
	return own, nil
}

// adopt makes a Build that goes with the Function of one that was nobody's.
func (r *Reconciler) adopt(ctx context.Context, fn *v1alpha1.Function, b *v1alpha1.Build) error {
	before := b.DeepCopy()
	if err := controllerutil.SetControllerReference(fn, b, r.client.Scheme()); err != nil {
		return fmt.Errorf("own Build %s/%s: %w", b.Namespace, b.Name, err)
	}
	err := r.client.Patch(ctx, b, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("own Build %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func (r *Reconciler) createBuild(ctx context.Context, fn *v1alpha1.Function, b *v1alpha1.Build) (*v1alpha1.Build, error) {
	key := client.ObjectKeyFromObject(b)
	var existing v1alpha1.Build
	err := r.client.Get(ctx, key, &existing)
	if err == nil && (!existing.DeletionTimestamp.IsZero() || !reconcile.Owns(fn, &existing)) {
		// Most likely it belonged to a deleted Function of the same name and is
		// about to go; its going is not watched, for it is not ours.
		message := fmt.Sprintf("Build %s is there and not of this Function; delete it, or wait until it is deleted", key)
		fn.Set(v1alpha1.Unknown(v1alpha1.ConditionBuilt, v1alpha1.ReasonNameTaken, message))
		return nil, reconcile.Wait(message, retryTaken/15)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read Build %s: %w", key, err)
	}
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

// makeBuild is the Build that an answer asks for.
func makeBuild(fn *v1alpha1.Function, answer decision.Answer, platformBuilder string) *v1alpha1.Build {
	source, request := decision.Source(fn)
	spec := v1alpha1.BuildSpec{
		Function:     fn.Name,
		Source:       source,
		Request:      request,
		Language:     fn.Spec.Language,
		BuilderImage: fn.Spec.Build.Builder,
		Env:          fn.Spec.Build.Env,
		Background:   answer.Background(),
	}
	if spec.BuilderImage == "" {
		spec.BuilderImage = platformBuilder
	}
	if answer.Result == v1alpha1.DecisionRebase {
		_, digest, _ := strings.Cut(answer.Use.Status.Image, "@")
		spec.BuilderImage = decision.Builder(answer.Use)
		spec.Rebase = &v1alpha1.BuildRebase{Digest: digest, RunImage: answer.Base}
	}
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fn.Namespace, Name: buildName(spec),
			Labels: map[string]string{v1alpha1.LabelFunction: fn.Name},
		},
		Spec: spec,
	}
}

// buildName is the name of a Build: the same will has the same name, so that
// what was made already, and is not seen yet, is not made twice.
func buildName(spec v1alpha1.BuildSpec) string {
	will := []string{decision.Inputs(spec, "").Hash}
	if spec.Rebase != nil {
		will = append(will, spec.Rebase.Digest, spec.Rebase.RunImage)
	}
	sum := sha256.Sum256([]byte(strings.Join(will, "\n")))
	return spec.Function + "-" + hex.EncodeToString(sum[:5])
}

// settings are the platform's, as far as they could be read.
type settings struct {
	v1alpha1.Platform
	builds        v1alpha1.BuildSettings
	reason, fault string // why they cannot be used; "" when they can
}

func (r *Reconciler) settings(ctx context.Context) (settings, error) {
	data, missing, err := r.platformData(ctx)
	if err != nil || missing != "" {
		return settings{reason: v1alpha1.ReasonPlatformNotFound, fault: missing}, err
	}
	var s settings
	if s.Platform, err = v1alpha1.ParsePlatform(data); err != nil {
		return settings{reason: v1alpha1.ReasonPlatformNotFound, fault: err.Error()}, nil
	}
	if s.builds, err = v1alpha1.ParseBuildSettings(data); err != nil {
		return settings{reason: v1alpha1.ReasonPlatformInvalid, fault: err.Error()}, nil
	}
	return s, nil
}

// question is what is to be decided. Without settings no builder is new.
func (s settings) question(fn *v1alpha1.Function, builds []v1alpha1.Build) decision.Question {
	return decision.Question{
		Want: decision.Want(fn, s.BuilderImage), Builds: slices.Clone(builds), Bases: s.builds.RunImages,
		RebuildOnNewBuilder: s.builds.RebuildOnNewBuilder,
	}
}

// observeRebuild notes which request to build again the status is about. An
// annotation makes no new generation, so whoever waits could not tell otherwise.
func observeRebuild(fn *v1alpha1.Function) {
	fn.Status.ObservedRebuild = fn.Annotations[v1alpha1.AnnotationRebuild]
}
