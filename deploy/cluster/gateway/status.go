package gateway

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/status"
	"knative.dev/pkg/logging"
)

// statuses writes the status of Ingresses, one write for each change of mind.
type statuses struct {
	g      *Gateway
	prober *status.Prober
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

// statusWorkers bounds the writes to the API server at one time.
const statusWorkers = 2

func newStatuses(g *Gateway) *statuses {
	return &statuses{g: g, queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())}
}

// start works on the queue until the context ends, then closes the channel.
func (s *statuses) start(ctx context.Context) <-chan struct{} {
	probing := s.prober.Start(ctx.Done())
	go func() {
		<-ctx.Done()
		s.queue.ShutDown()
	}()
	var workers sync.WaitGroup
	for range statusWorkers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	done := make(chan struct{})
	go func() {
		workers.Wait()
		<-probing
		close(done)
	}()
	return done
}

func (s *statuses) next(ctx context.Context) bool {
	key, stop := s.queue.Get()
	if stop {
		return false
	}
	defer s.queue.Done(key)
	if err := s.reconcile(ctx, key); err != nil {
		if !apierrors.IsConflict(err) && ctx.Err() == nil {
			s.g.log.Warn("gateway cannot write the status of an Ingress and tries again", "ingress", key.String(), "error", err)
		}
		s.queue.AddRateLimited(key)
		return true
	}
	s.queue.Forget(key)
	return true
}

// enqueue is the callback of the prober.
func (s *statuses) enqueue(ing *v1alpha1.Ingress) {
	s.queue.Add(types.NamespacedName{Namespace: ing.Namespace, Name: ing.Name})
}

// enqueueObject takes what an informer delivers, deletions too.
func (s *statuses) enqueueObject(obj any) {
	if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
		s.queue.Add(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
	}
}

func (s *statuses) reconcile(ctx context.Context, key types.NamespacedName) error {
	ing, err := s.g.caches.ingresses.Ingresses(key.Namespace).Get(key.Name)
	if err != nil || !ours(ing) {
		s.prober.CancelIngressProbingByKey(key)
		return nil // gone, or the business of another gateway
	}
	t := s.g.table.Load()
	if t == nil {
		return nil
	}
	state := t.ingresses[key]
	if state == nil || state.program.uid != ing.UID || state.program.generation != ing.Generation {
		return nil // the next table brings it here again
	}
	want := ing.DeepCopy()
	if err := s.decide(ctx, want, state); err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(ing.Status, want.Status) {
		return nil
	}
	_, err = s.g.options.Networking.NetworkingV1alpha1().Ingresses(key.Namespace).UpdateStatus(ctx, want, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// decide sets the status that an Ingress should have. One that was ready stays
// so for its generation when its pods go: readiness is about the routes.
func (s *statuses) decide(ctx context.Context, ing *v1alpha1.Ingress, state *ingressState) error {
	ready := ing.IsReady()
	st := &ing.Status
	if len(state.problems) > 0 {
		s.prober.CancelIngressProbing(ing)
		st.InitializeConditions()
		st.MarkLoadBalancerFailed(state.problems[0].reason, state.problems[0].message)
		st.ObservedGeneration = ing.Generation
		return nil
	}
	if ready {
		return nil
	}
	if waiting := state.waitingFor(); waiting != "" {
		// The prober backs off up to 30 s, so it only starts when it can succeed.
		s.prober.CancelIngressProbing(ing)
		st.InitializeConditions()
		st.MarkLoadBalancerNotReady()
		st.MarkIngressNotReady("EndpointsNotReady", waiting)
		st.ObservedGeneration = ing.Generation
		return nil
	}
	probed, err := s.prober.IsReady(logging.WithLogger(ctx, proberLogger(s.g.log)), ing)
	if err != nil {
		return fmt.Errorf("probe Ingress %s: %w", state.program.key, err)
	}
	if !probed {
		if len(st.Conditions) == 0 {
			st.InitializeConditions()
			st.MarkLoadBalancerNotReady()
		}
		return nil
	}
	st.InitializeConditions()
	st.MarkNetworkConfigured()
	st.MarkLoadBalancerReady(s.g.loadBalancer(serviceExternal), s.g.loadBalancer(serviceInternal))
	st.ObservedGeneration = ing.Generation
	return nil
}

func (g *Gateway) loadBalancer(service string) []v1alpha1.LoadBalancerIngressStatus {
	return []v1alpha1.LoadBalancerIngressStatus{{
		DomainInternal: service + "." + Namespace + ".svc." + g.options.ClusterDomain,
	}}
}

// ListProbeTargets implements status.ProbeTargetLister: every host of an Ingress
// on every listener that must serve it.
func (s *statuses) ListProbeTargets(_ context.Context, ing *v1alpha1.Ingress) ([]status.ProbeTarget, error) {
	p := compile(ing, s.g.options.ClusterDomain, func(key backendKey) *backend { return &backend{key: key} })
	var secure []string
	for _, ref := range p.tls {
		secure = append(secure, ref.hosts...)
	}
	var targets []status.ProbeTarget
	for _, t := range []struct {
		scheme string
		hosts  []string
		port   int
	}{
		{"http", sortedKeys(p.external), s.g.ports.http},
		{"https", secure, s.g.ports.https},
		{"http", sortedKeys(p.internal), s.g.ports.internal},
	} {
		if len(t.hosts) == 0 || t.port == 0 {
			continue
		}
		target := status.ProbeTarget{PodIPs: sets.New(s.g.address), PodPort: strconv.Itoa(t.port), Port: strconv.Itoa(t.port)}
		for _, host := range t.hosts {
			if host == anyHost {
				host = s.g.address
			}
			target.URLs = append(target.URLs, &url.URL{Scheme: t.scheme, Host: host})
		}
		targets = append(targets, target)
	}
	return targets, nil
}
