package policy

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// watcher keeps the objects that matter and tells that something changed.
type watcher struct {
	changed    chan struct{} // holds one token at most: changes are counted once
	stop       func()
	policies   networkinglisters.NetworkPolicyLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
}

// watch returns when everything was read once.
func watch(ctx context.Context, kube kubernetes.Interface) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTransform(trim))
	w := &watcher{
		changed:    make(chan struct{}, 1),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
	}
	w.stop = func() {
		cancel()
		factory.Shutdown()
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Networking().V1().NetworkPolicies().Informer(),
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
	} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { w.tell() },
			UpdateFunc: func(_, _ any) { w.tell() },
			DeleteFunc: func(any) { w.tell() },
		}); err != nil {
			w.stop()
			return nil, fmt.Errorf("watch for network policies: %w", err)
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			w.stop()
			return nil, errors.Join(fmt.Errorf("watch for network policies: %s were not read", kind), ctx.Err())
		}
	}
	return w, nil
}

func (w *watcher) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watcher) snapshot() snapshot {
	// These listers read a cache and cannot fail.
	policies, _ := w.policies.List(labels.Everything())
	pods, _ := w.pods.List(labels.Everything())
	namespaces, _ := w.namespaces.List(labels.Everything())
	return snapshot{policies: policies, pods: pods, namespaces: namespaces}
}

// trim keeps of a pod what compute reads: a cluster has many pods, and the rest
// of them is large.
func trim(object any) (any, error) {
	p, ok := object.(*corev1.Pod)
	if !ok {
		if o, err := meta.Accessor(object); err == nil {
			o.SetManagedFields(nil)
		}
		return object, nil
	}
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, UID: p.UID, ResourceVersion: p.ResourceVersion, Labels: p.Labels,
			CreationTimestamp: p.CreationTimestamp, DeletionTimestamp: p.DeletionTimestamp,
		},
		Spec:   corev1.PodSpec{HostNetwork: p.Spec.HostNetwork},
		Status: corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	if ports := containerPorts(p); len(ports) > 0 {
		out.Spec.Containers = []corev1.Container{{Ports: ports}}
	}
	return out, nil
}
