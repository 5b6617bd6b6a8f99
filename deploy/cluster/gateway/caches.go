package gateway

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/client/clientset/versioned"
	"knative.dev/networking/pkg/client/informers/externalversions"
	networkinglisters "knative.dev/networking/pkg/client/listers/networking/v1alpha1"
)

// caches holds the informers. Secrets are limited to certificates, which an
// Ingress may name; no other secret ever enters this part of the process.
type caches struct {
	core, secrets informers.SharedInformerFactory
	networking    externalversions.SharedInformerFactory

	ingressInformer cache.SharedIndexInformer
	serviceInformer cache.SharedIndexInformer
	sliceInformer   cache.SharedIndexInformer
	secretInformer  cache.SharedIndexInformer

	ingresses    networkinglisters.IngressLister
	services     corelisters.ServiceLister
	secretLister corelisters.SecretLister
}

// byService is the index of EndpointSlices by the Service they belong to.
const byService = "service"

func newCaches(kube kubernetes.Interface, networking versioned.Interface) *caches {
	c := &caches{
		core: informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTransform(slim)),
		secrets: informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTransform(slim),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("type", string(corev1.SecretTypeTLS)).String()
			})),
		networking: externalversions.NewSharedInformerFactoryWithOptions(networking, 0, externalversions.WithTransform(slim)),
	}
	ingresses := c.networking.Networking().V1alpha1().Ingresses()
	services := c.core.Core().V1().Services()
	secrets := c.secrets.Core().V1().Secrets()
	c.ingressInformer, c.ingresses = ingresses.Informer(), ingresses.Lister()
	c.serviceInformer, c.services = services.Informer(), services.Lister()
	c.secretInformer, c.secretLister = secrets.Informer(), secrets.Lister()
	c.sliceInformer = c.core.Discovery().V1().EndpointSlices().Informer()
	// It fails only on an informer that has already started.
	_ = c.sliceInformer.AddIndexers(cache.Indexers{byService: func(obj any) ([]string, error) {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
			return []string{serviceOf(slice).String()}, nil
		}
		return nil, nil
	}})
	return c
}

// slim drops what nobody here reads and what is most of many objects.
func slim(obj any) (any, error) {
	if m, err := meta.Accessor(obj); err == nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

// serviceOf names the Service of an EndpointSlice.
func serviceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// start runs the informers and returns when their caches are filled.
func (c *caches) start(ctx context.Context) error {
	c.core.Start(ctx.Done())
	c.secrets.Start(ctx.Done())
	c.networking.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), c.ingressInformer.HasSynced, c.serviceInformer.HasSynced,
		c.sliceInformer.HasSynced, c.secretInformer.HasSynced) {
		return fmt.Errorf("gateway: fill caches: %w", context.Cause(ctx))
	}
	return nil
}

// stop waits for the informers, whose context has ended.
func (c *caches) stop() {
	c.core.Shutdown()
	c.secrets.Shutdown()
	c.networking.Shutdown()
}

// service implements clusterView.
func (c *caches) service(name types.NamespacedName) *corev1.Service {
	svc, err := c.services.Services(name.Namespace).Get(name.Name)
	if err != nil {
		return nil // a lister only ever says "not found"
	}
	return svc
}

// slices implements clusterView.
func (c *caches) slices(service types.NamespacedName) []*discoveryv1.EndpointSlice {
	objects, err := c.sliceInformer.GetIndexer().ByIndex(byService, service.String())
	if err != nil {
		return nil // the index exists since newCaches
	}
	out := make([]*discoveryv1.EndpointSlice, 0, len(objects))
	for _, obj := range objects {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
			out = append(out, slice)
		}
	}
	return out
}

// secret returns a TLS secret, or nil.
func (c *caches) secret(name types.NamespacedName) *corev1.Secret {
	s, err := c.secretLister.Secrets(name.Namespace).Get(name.Name)
	if err != nil || s.Type != corev1.SecretTypeTLS {
		return nil
	}
	return s
}
