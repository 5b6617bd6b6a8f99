package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// retryTaken is how soon a name that somebody else holds is tried again.
const retryTaken = 30 * time.Second

// Reconciler brings one Function at a time to where its spec wants it.
type Reconciler struct {
	client client.Client
	wiring Wiring
}

// New makes a Reconciler; Setup is the usual way.
func New(c client.Client, wiring Wiring) *Reconciler {
	return &Reconciler{client: c, wiring: wiring}
}

// Reconcile runs the steps of a Function. Each of build, deploy and wire owns
// the condition that is named after it.
func (r *Reconciler) Reconcile(ctx context.Context, fn *v1alpha1.Function) (ctrl.Result, error) {
	return reconcile.Run(ctx, r.client, fn, (*v1alpha1.Function).Summarize,
		validate, r.build, r.deploy, r.wire, r.collect)
}

func validate(_ context.Context, fn *v1alpha1.Function) error {
	if err := fn.Validate().ToAggregate(); err != nil {
		fn.Set(v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	return nil
}

// platform reads the settings of the platform. found is false, and the message
// says what to do, when there are none or they are not complete.
func (r *Reconciler) platform(ctx context.Context) (p v1alpha1.Platform, missing string, err error) {
	var cm corev1.ConfigMap
	key := client.ObjectKey{Namespace: v1alpha1.NamespaceSystem, Name: v1alpha1.PlatformConfigMap}
	if err := r.client.Get(ctx, key, &cm); apierrors.IsNotFound(err) {
		return p, fmt.Sprintf("ConfigMap %s is not there: run `knit install`", key), nil
	} else if err != nil {
		return p, "", fmt.Errorf("read ConfigMap %s: %w", key, err)
	}
	p, err = v1alpha1.ParsePlatform(cm.Data)
	if err != nil {
		return p, err.Error(), nil
	}
	return p, "", nil
}

// refuse turns the answer of the API server to a child into an outcome: what is
// refused for its content is shown and not tried again.
func refuse(fn *v1alpha1.Function, condition string, err error) error {
	if !reconcile.Refused(err) {
		return err
	}
	fn.Set(v1alpha1.False(condition, v1alpha1.ReasonInvalid, err.Error()))
	return reconcile.Terminal(err)
}
