// Package controller works on Builds: it admits them by turn, runs each one as
// a pod in the namespace of builds, reports phases, image and failures in the
// Build's status, keeps the log, and removes the pod. The control plane calls Setup; what a
// pod looks like is decided by builder/incluster. It never builds anything
// itself and keeps nothing in memory that a restart would lose.
package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	runtime "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Options of the controller; zero values mean the defaults.
type Options struct {
	// Kube reads the logs of failed builds. It is required.
	Kube kubernetes.Interface
	// SystemNamespace holds the platform's settings; "knit-system".
	SystemNamespace string
	// BuildNamespace is where pods run; "knit-builds".
	BuildNamespace string
	// Registry reads images and keeps logs. It is required.
	Registry *registry.Client
	// KeepPod is how long a finished pod is kept; 1 h. Its log outlives it.
	KeepPod time.Duration
}

func (o Options) withDefaults() Options {
	setDefault(&o.SystemNamespace, "knit-system")
	setDefault(&o.BuildNamespace, incluster.DefaultNamespace)
	setDefault(&o.KeepPod, time.Hour)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Setup adds the controller to a manager whose scheme knows Build. The
// manager's cache needs Builds of all namespaces and the pods of the build
// namespace, no others.
func Setup(mgr ctrl.Manager, o Options) error {
	if o.Kube == nil || o.Registry == nil {
		return errors.New("build controller: Options.Kube and Options.Registry must be set")
	}
	r := newReconciler(mgr.GetClient(), mgr.GetAPIReader(), o)
	return ctrl.NewControllerManagedBy(mgr).
		Named("build").
		For(&v1alpha1.Build{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.buildOfPod)).
		WithOptions(runtime.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

func newReconciler(c client.Client, live client.Reader, o Options) *Reconciler {
	o = o.withDefaults()
	logs := podLogs{o.Kube.CoreV1().Pods(o.BuildNamespace)}
	return &Reconciler{
		client: c, live: live, registry: o.Registry, options: o,
		now:   time.Now,
		tail:  logs.tail,
		end:   logs.end,
		admit: &sync.Mutex{},
	}
}

func (r *Reconciler) buildOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	if pod.GetNamespace() != r.options.BuildNamespace {
		return nil
	}
	namespace, name, ok := incluster.BuildOf(pod)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}
