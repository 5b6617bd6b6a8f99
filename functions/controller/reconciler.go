package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// retryTaken is how soon a name that somebody else holds is tried again.
const retryTaken = 30 * time.Second

// Reconciler brings one Function at a time to where its spec wants it.
type Reconciler struct {
	client     client.Client
	references client.Reader // of the metadata of Secrets and ConfigMaps
	direct     client.Reader // without a cache: tenants' pods, definitions of kinds
	wiring     Wiring
	applied    *reconcile.Memory // of Knative's objects
	now        func() time.Time

	// watchSources has Functions looked at again when their sources of a kind
	// change; nil where nothing is watched.
	watchSources func(schema.GroupVersionKind) error
}

// New makes a Reconciler; Setup is the usual way.
func New(c client.Client, references, direct client.Reader, wiring Wiring) *Reconciler {
	return &Reconciler{client: c, references: references, direct: direct, wiring: wiring, applied: reconcile.NewMemory(), now: time.Now}
}

// Reconcile runs the steps of a Function. Each of build, deploy and wire owns
// the condition that is named after it.
func (r *Reconciler) Reconcile(ctx context.Context, fn *v1alpha1.Function) (ctrl.Result, error) {
	return reconcile.Run(ctx, r.client, fn, (*v1alpha1.Function).Summarize,
		validate, r.build, r.deploy, r.wire, r.collect)
}

func validate(_ context.Context, fn *v1alpha1.Function) error {
	if err := fn.Validate().ToAggregate(); err != nil {
		observeRebuild(fn)
		fn.Set(v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonInvalid, err.Error()))
		return reconcile.Terminal(err)
	}
	return nil
}

// platform is what is settled for the whole cluster; the zero value when the
// settings are missing or not complete, which the step build reports.
func (r *Reconciler) platform(ctx context.Context) (v1alpha1.Platform, error) {
	data, _, err := r.platformData(ctx)
	if err != nil {
		return v1alpha1.Platform{}, err
	}
	p, err := v1alpha1.ParsePlatform(data)
	if err != nil {
		return v1alpha1.Platform{}, nil
	}
	return p, nil
}

// platformData reads the ConfigMap of the platform.
func (r *Reconciler) platformData(ctx context.Context) (data map[string]string, missing string, err error) {
	var cm corev1.ConfigMap
	key := client.ObjectKey{Namespace: v1alpha1.NamespaceSystem, Name: v1alpha1.PlatformConfigMap}
	if err := r.client.Get(ctx, key, &cm); apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("ConfigMap %s is not there: run `knit install`", key), nil
	} else if err != nil {
		return nil, "", fmt.Errorf("read ConfigMap %s: %w", key, err)
	}
	return cm.Data, "", nil
}

// refuse turns the answer of the API server to a child into an outcome. What is
// refused for its content is shown and not tried again; what is refused for
// rights or quota, which change without a word, is shown and tried again; and of
// a failure that passes is told while there is nothing better to say.
func refuse(fn *v1alpha1.Function, condition string, err error) error {
	switch {
	case reconcile.Refused(err):
		fn.Set(v1alpha1.False(condition, v1alpha1.ReasonInvalid, err.Error()+"; correct the field of the Function that it comes from"))
		return reconcile.Terminal(err)
	case apierrors.IsForbidden(err):
		reason, next := v1alpha1.ReasonForbidden, "; allow it, or ask who refused it; it is tried again by itself"
		if strings.Contains(err.Error(), exceededQuota) {
			reason, next = v1alpha1.ReasonQuotaExceeded, "; delete what is not needed, or raise the ResourceQuota; it is tried again by itself"
		}
		fn.Set(v1alpha1.False(condition, reason, err.Error()+next))
		return reconcile.Wait(err.Error(), retryTaken)
	case !fn.Holds(condition):
		fn.Set(v1alpha1.Unknown(condition, v1alpha1.ReasonRetrying, err.Error()+"; it is tried again by itself"))
	}
	return err
}

// exceededQuota is what the API server says when a ResourceQuota is met.
const exceededQuota = "exceeded quota"
