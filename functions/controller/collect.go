package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// collect deletes builds that nobody needs any more: those under way for inputs
// that are no longer wanted, and the oldest ended ones.
func (r *Reconciler) collect(ctx context.Context, fn *v1alpha1.Function) error {
	s, err := r.settings(ctx)
	if err != nil || s.fault != "" {
		return err
	}
	builds, err := r.builds(ctx, fn)
	if err != nil {
		return err
	}
	var answer decision.Answer
	if fn.Spec.Source.Built() {
		answer = decision.Decide(s.question(fn, builds))
	}
	for _, b := range disposable(builds, answer, s.builds.Keep) {
		// The precondition spares a new Build of the same name.
		uid := client.Preconditions{UID: &b.UID}
		if err := client.IgnoreNotFound(r.client.Delete(ctx, b, uid, client.PropagationPolicy("Background"))); err != nil {
			return fmt.Errorf("delete Build %s/%s: %w", b.Namespace, b.Name, err)
		}
	}
	return nil
}

// disposable decides which builds go. What is used and what is on its way stays;
// so does a Build that a person asked for, until it has ended.
func disposable(builds []v1alpha1.Build, answer decision.Answer, keep int) []*v1alpha1.Build {
	wanted := func(b *v1alpha1.Build) bool {
		return answer.Use != nil && b.Name == answer.Use.Name || answer.Next != nil && b.Name == answer.Next.Name
	}
	old := decision.Old(builds, keep, wanted)
	for i := range builds {
		b := &builds[i]
		if ended, _ := b.Done(); !ended && !wanted(b) && ours(b) {
			old = append(old, b)
		}
	}
	return old
}

// ours reports whether the controller made a Build: its name says so.
func ours(b *v1alpha1.Build) bool { return b.Name == buildName(b.Spec) }
