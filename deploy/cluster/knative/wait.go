package knative

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// waitEstablished waits until the API server serves all definitions.
func (in *installer) waitEstablished(ctx context.Context, objects []unstructured.Unstructured) error {
	return in.waitKinds(ctx, objects, map[string]judge{"CustomResourceDefinition": established}, nil)
}

// waitAvailable waits until all workloads run.
func (in *installer) waitAvailable(ctx context.Context, objects []unstructured.Unstructured) error {
	return in.waitKinds(ctx, objects, workloads, func(o *unstructured.Unstructured, left int) {
		in.say("%s/%s is available, %d to go", o.GetNamespace(), o.GetName(), left)
	})
}

// judge says whether an object is as it should be, and if not, why.
type judge func(*unstructured.Unstructured) (ok bool, why string)

// waitKinds watches all objects of the judged kinds until each is ready.
func (in *installer) waitKinds(ctx context.Context, objects []unstructured.Unstructured, judges map[string]judge, ready func(*unstructured.Unstructured, int)) error {
	w := &waiter{pending: map[identity]string{}, ready: ready}
	collections := map[collection]judge{}
	for _, o := range objects {
		if j := judges[o.GetKind()]; j != nil {
			w.pending[identityOf(&o)] = unseen
			collections[collection{o.GroupVersionKind(), o.GetNamespace()}] = j
		}
	}
	group, watching := errgroup.WithContext(ctx)
	for c, j := range collections {
		group.Go(func() error { return w.watch(watching, in.dynamic, c, j) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%w; not ready: %s", err, strings.Join(w.reasons(context.WithoutCancel(ctx), in.dynamic), "; "))
	}
	return nil
}

// unseen is the reason of what no event told of yet.
const unseen = "does not exist yet"

// waiter keeps what is not ready yet.
type waiter struct {
	mu      sync.Mutex
	pending map[identity]string                          // why
	ready   func(o *unstructured.Unstructured, left int) // told what became ready meanwhile
}

// watch returns when nothing of the collection is pending.
func (w *waiter) watch(ctx context.Context, client dynamic.Interface, c collection, j judge) error {
	resource := client.Resource(resourceOf(c.gvk)).Namespace(c.namespace)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	_, err := watchtools.UntilWithSync(ctx, lw, &unstructured.Unstructured{}, nil, func(e watch.Event) (bool, error) {
		o, ok := e.Object.(*unstructured.Unstructured)
		return ok && w.see(o, c, j), nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("gave up waiting: %w", ctx.Err())
	}
	return err
}

// see takes in one event and says whether the collection is complete.
func (w *waiter) see(o *unstructured.Unstructured, c collection, j judge) bool {
	id := identityOf(o)
	ok, why := j(o)
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, expected := w.pending[id]; expected {
		w.pending[id] = why
		if ok {
			delete(w.pending, id)
			if w.ready != nil && before != unseen {
				w.ready(o, len(w.pending))
			}
		}
	}
	for id := range w.pending {
		if id.kind == c.gvk.Kind && id.namespace == c.namespace {
			return false
		}
	}
	return true
}

// reasons lists what is pending and why, with the state of pods.
func (w *waiter) reasons(ctx context.Context, client dynamic.Interface) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out := make([]string, 0, len(w.pending))
	namespaces := map[string]bool{}
	for id, why := range w.pending {
		out = append(out, fmt.Sprintf("%s %s/%s: %s", id.kind, id.namespace, id.name, why))
		if workloads[id.kind] != nil {
			namespaces[id.namespace] = true
		}
	}
	for ns := range namespaces {
		out = append(out, podTroubles(ctx, client, ns)...)
	}
	slices.Sort(out)
	return out
}

// workloads are the kinds that run pods.
var workloads = map[string]judge{"Deployment": deploymentAvailable, "StatefulSet": statefulSetAvailable}

func established(o *unstructured.Unstructured) (bool, string) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	why := "not accepted yet"
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Established" && condition["status"] == "True" {
			return true, ""
		}
		if condition["type"] == "NamesAccepted" && condition["status"] == "False" {
			why = fmt.Sprint(condition["message"])
		}
	}
	return false, why
}

func deploymentAvailable(o *unstructured.Unstructured) (bool, string) {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		return false, err.Error()
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= want && s.AvailableReplicas >= want {
		return true, ""
	}
	for _, c := range s.Conditions {
		if c.Status == corev1.ConditionTrue && c.Type == appsv1.DeploymentReplicaFailure ||
			c.Status == corev1.ConditionFalse && c.Type == appsv1.DeploymentProgressing {
			return false, c.Message
		}
	}
	return false, fmt.Sprintf("%d of %d pods available", s.AvailableReplicas, want)
}

func statefulSetAvailable(o *unstructured.Unstructured) (bool, string) {
	var d appsv1.StatefulSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		return false, err.Error()
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= want && s.AvailableReplicas >= want {
		return true, ""
	}
	return false, fmt.Sprintf("%d of %d pods available", s.AvailableReplicas, want)
}
