package gateway

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// watch keeps the table and the status of Ingresses true until the context ends.
func (g *Gateway) watch(ctx context.Context) error {
	if !g.awaitCRD(ctx) {
		return nil
	}
	if err := g.handle(); err != nil {
		return err
	}
	if g.caches.start(ctx) != nil {
		return nil // only the end of the context stops it
	}
	defer g.caches.stop()
	done := g.statuses.start(ctx)
	defer func() { <-done }()
	g.buildTables(ctx)
	return nil
}

// awaitCRD asks the API server until it knows Ingresses. Informers would do the
// same with an error in the log for each attempt.
func (g *Gateway) awaitCRD(ctx context.Context) bool {
	tick := time.NewTicker(crdPoll)
	defer tick.Stop()
	for absent := 0; ; {
		list, err := g.options.Networking.Discovery().ServerResourcesForGroupVersion(v1alpha1.SchemeGroupVersion.String())
		switch {
		case err == nil && hasIngresses(list):
			return true
		case err == nil || apierrors.IsNotFound(err):
			absent++
		default:
			absent = 0 // the API server is not up; requests wait for what it will say
		}
		if absent == crdAbsent && g.table.Load() == nil {
			g.log.Info("gateway waits for the Ingress CRD of Knative", "group", v1alpha1.SchemeGroupVersion.String())
			// There can be no route, and a client should hear so at once.
			g.store(build(nil, nil, g.ports.https != 0))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

func hasIngresses(list *metav1.APIResourceList) bool {
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "ingresses" })
}

// handle connects the informers to what follows from a change.
func (g *Gateway) handle() error {
	for _, h := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{g.caches.ingressInformer, cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { g.markDirty() },
			UpdateFunc: func(before, after any) {
				if sameProgram(before, after) {
					g.statuses.enqueueObject(after)
					return
				}
				g.markDirty()
			},
			DeleteFunc: func(obj any) {
				g.statuses.enqueueObject(obj)
				g.markDirty()
			},
		}},
		{g.caches.secretInformer, onAny(func(any) { g.markDirty() })},
		{g.caches.serviceInformer, onAny(func(obj any) {
			if svc, ok := obj.(*corev1.Service); ok {
				g.backends.refresh(types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name})
			}
		})},
		{g.caches.sliceInformer, onAny(func(obj any) {
			if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
				g.backends.refresh(serviceOf(slice))
			}
		})},
	} {
		if _, err := h.informer.AddEventHandler(h.handler); err != nil {
			return err
		}
	}
	return nil
}

func onAny(f func(any)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    f,
		UpdateFunc: func(_, after any) { f(after) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			f(obj)
		},
	}
}

// sameProgram reports whether an update changed nothing that a table depends on:
// it is the echo of a status, say.
func sameProgram(before, after any) bool {
	a, ok := before.(*v1alpha1.Ingress)
	b, same := after.(*v1alpha1.Ingress)
	return ok && same && a.UID == b.UID && a.Generation == b.Generation && ours(a) == ours(b)
}

// ours reports whether this gateway serves an Ingress.
func ours(ing *v1alpha1.Ingress) bool {
	return networking.GetIngressClass(ing.Annotations) == ClassName && ing.DeletionTimestamp.IsZero()
}

func (g *Gateway) markDirty() {
	select {
	case g.dirty <- struct{}{}:
	default:
	}
}

// buildTables makes a new table for every change, or one for many changes that
// come while it is at work.
func (g *Gateway) buildTables(ctx context.Context) {
	certs := newCertStore(g.caches.secret)
	g.rebuild(certs)
	for {
		select {
		case <-g.dirty:
			g.rebuild(certs)
		case <-ctx.Done():
			return
		}
	}
}

func (g *Gateway) rebuild(certs *certStore) {
	list, err := g.caches.ingresses.List(labels.Everything())
	if err != nil {
		return // a lister reads memory and selects everything
	}
	old := g.table.Load()
	claims := make([]claim, 0, len(list))
	usedBackends, usedSecrets := map[*backend]bool{}, map[types.NamespacedName]bool{}
	for _, ing := range list {
		if !ours(ing) {
			continue
		}
		p := g.programOf(ing, old)
		claims = append(claims, claim{created: ing.CreationTimestamp.Unix(), program: p})
		for _, b := range p.backends {
			usedBackends[b] = true
		}
		for _, ref := range p.tls {
			usedSecrets[ref.secret] = true
		}
	}
	t := build(claims, certs, g.ports.https != 0)
	g.store(t)
	g.backends.retain(usedBackends)
	certs.retain(usedSecrets)
	for key, state := range t.ingresses {
		if old == nil || !state.same(old.ingresses[key]) {
			g.statuses.queue.Add(key)
		}
	}
}

// programOf reuses the program of the table before for the same generation.
func (g *Gateway) programOf(ing *v1alpha1.Ingress, old *table) *program {
	if old != nil {
		key := types.NamespacedName{Namespace: ing.Namespace, Name: ing.Name}
		if s := old.ingresses[key]; s != nil && s.program.uid == ing.UID && s.program.generation == ing.Generation {
			return s.program
		}
	}
	return compile(ing, g.options.ClusterDomain, g.backends.get)
}

func (g *Gateway) store(t *table) {
	if g.table.Swap(t) == nil {
		close(g.started)
	}
}

// backendFlipped looks again at the status of the Ingresses that use a backend.
func (g *Gateway) backendFlipped(b *backend) {
	t := g.table.Load()
	if t == nil {
		return
	}
	for key, state := range t.ingresses {
		for _, used := range state.program.backends {
			if used == b {
				g.statuses.queue.Add(key)
			}
		}
	}
}
