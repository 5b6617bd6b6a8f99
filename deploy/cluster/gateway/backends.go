package gateway

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// backends owns every backend and endpoint. Only writers take its lock; the
// request path reads the atomic pointers it stores.
type backends struct {
	view          clusterView
	clusterDomain string
	self          map[string]bool  // addresses of our own listeners
	flipped       func(b *backend) // called with the lock held when unavailable() gives another answer

	mu        sync.Mutex
	byKey     map[backendKey]*tracked
	byService map[types.NamespacedName]map[*tracked]struct{}
	endpoints map[string]*counted
}

// tracked is a backend with what only writers need.
type tracked struct {
	*backend
	services []types.NamespacedName
}

// counted is an endpoint and the number of sets that contain it.
type counted struct {
	*endpoint
	sets int
}

func newBackends(view clusterView, clusterDomain string, self map[string]bool, flipped func(*backend)) *backends {
	return &backends{
		view: view, clusterDomain: clusterDomain, self: self, flipped: flipped,
		byKey:     map[backendKey]*tracked{},
		byService: map[types.NamespacedName]map[*tracked]struct{}{},
		endpoints: map[string]*counted{},
	}
}

// get returns the backend for a key, resolved.
func (r *backends) get(key backendKey) *backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.byKey[key]
	if t == nil {
		t = &tracked{backend: &backend{key: key}}
		r.byKey[key] = t
		r.resolve(t)
	}
	return t.backend
}

// refresh resolves every backend that depends on a Service.
func (r *backends) refresh(service types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A copy, because resolve changes the index.
	for _, t := range slices.Collect(maps.Keys(r.byService[service])) {
		r.resolve(t)
	}
}

// retain forgets all backends that are not used any more. A request that still
// holds one goes on with the endpoints it has.
func (r *backends) retain(used map[*backend]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, t := range r.byKey {
		if used[t.backend] {
			continue
		}
		delete(r.byKey, key)
		r.depend(t, nil)
		for _, e := range t.set.Load().endpoints {
			r.release(e)
		}
	}
}

// resolve stores a new set if it differs from the present one.
func (r *backends) resolve(t *tracked) {
	res := resolve(r.view, t.key, r.clusterDomain)
	r.depend(t, res.services)
	old := t.set.Load()
	if old != nil && old.equals(res) {
		return
	}
	before := ""
	if old != nil {
		before = t.unavailable()
	}
	set := &endpointSet{
		h2c: res.h2c, fallback: res.fallback, reason: res.reason,
		endpoints: make([]*endpoint, 0, len(res.addresses)),
		replaced:  make(chan struct{}),
	}
	for _, address := range res.addresses {
		set.endpoints = append(set.endpoints, r.acquire(address))
	}
	t.set.Store(set)
	if old == nil {
		return
	}
	close(old.replaced)
	for _, e := range old.endpoints {
		r.release(e)
	}
	if before != t.unavailable() {
		r.flipped(t.backend)
	}
}

func (s *endpointSet) equals(res resolution) bool {
	return s.h2c == res.h2c && s.fallback == res.fallback && s.reason == res.reason &&
		slices.EqualFunc(s.endpoints, res.addresses, func(e *endpoint, address string) bool { return e.address == address })
}

// depend makes a backend follow exactly these Services.
func (r *backends) depend(t *tracked, services []types.NamespacedName) {
	for _, name := range t.services {
		delete(r.byService[name], t)
		if len(r.byService[name]) == 0 {
			delete(r.byService, name)
		}
	}
	t.services = services
	for _, name := range services {
		if r.byService[name] == nil {
			r.byService[name] = map[*tracked]struct{}{}
		}
		r.byService[name][t] = struct{}{}
	}
}

func (r *backends) acquire(address string) *endpoint {
	c := r.endpoints[address]
	if c == nil {
		c = &counted{endpoint: &endpoint{address: address, self: r.self[address]}}
		r.endpoints[address] = c
	}
	c.sets++
	return c.endpoint
}

func (r *backends) release(e *endpoint) {
	c := r.endpoints[e.address]
	if c.sets--; c.sets == 0 {
		delete(r.endpoints, e.address)
	}
}
