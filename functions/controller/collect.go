package controller

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// keepBuilds is how many ended builds of a Function are kept as its history.
const keepBuilds = 3

// collect deletes builds that nobody needs any more.
func (r *Reconciler) collect(ctx context.Context, fn *v1alpha1.Function) error {
	var builds v1alpha1.BuildList
	err := r.client.List(ctx, &builds, client.InNamespace(fn.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: fn.Name})
	if err != nil {
		return fmt.Errorf("list the Builds of Function %s/%s: %w", fn.Namespace, fn.Name, err)
	}
	own := slices.DeleteFunc(builds.Items, func(b v1alpha1.Build) bool { return !reconcile.Owns(fn, &b) || !b.DeletionTimestamp.IsZero() })
	for _, b := range disposable(own, fn.Status.BuildRef) {
		// The precondition spares a new Build of the same name.
		uid := client.Preconditions{UID: &b.UID}
		if err := client.IgnoreNotFound(r.client.Delete(ctx, &b, uid, client.PropagationPolicy("Background"))); err != nil {
			return fmt.Errorf("delete Build %s/%s: %w", b.Namespace, b.Name, err)
		}
	}
	return nil
}

// disposable decides which builds go: those under way for inputs that are no
// longer wanted, and all but the newest ended ones. The wanted one stays.
func disposable(builds []v1alpha1.Build, wanted string) []v1alpha1.Build {
	var old []v1alpha1.Build
	kept := 0
	slices.SortStableFunc(builds, func(a, b v1alpha1.Build) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	for _, b := range builds {
		if b.Name == wanted {
			kept++
		}
	}
	for _, b := range builds {
		if b.Name == wanted {
			continue
		}
		ended, _ := b.Done()
		if ended && kept < keepBuilds {
			kept++
			continue
		}
		old = append(old, b)
	}
	return old
}
