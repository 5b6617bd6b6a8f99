package gateway

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// backend is a port of a Service. Routes hold the pointer for as long as they
// live; its endpoints are swapped under them.
type backend struct {
	key backendKey
	set atomic.Pointer[endpointSet]
}

// endpointSet is one state of a backend. It is never changed once stored.
type endpointSet struct {
	endpoints []*endpoint
	h2c       bool
	fallback  bool
	reason    string
	replaced  chan struct{} // closed when a newer set has taken the place of this one
}

// endpoint is one address. All backends that contain it share it, and it stays
// the same while sets change, so its counter is true.
type endpoint struct {
	address  string
	self     bool // a listener of this gateway, reached through an ExternalName Service
	inflight atomic.Int32
	ejected  atomic.Int64 // until when it is avoided, in nanoseconds of monotonic; 0 is never
}

// epoch makes times small enough for an atomic integer and keeps them monotonic.
var epoch = time.Now()

func monotonic() int64 { return int64(time.Since(epoch)) }

func (e *endpoint) eject()   { e.ejected.Store(monotonic() + int64(ejectTime)) }
func (e *endpoint) readmit() { e.ejected.Store(0) }

func (e *endpoint) healthy() bool {
	until := e.ejected.Load()
	return until == 0 || monotonic() >= until
}

// unavailable says why a backend has no endpoint that is known to be ready.
func (b *backend) unavailable() string {
	if set := b.set.Load(); len(set.endpoints) == 0 || set.fallback {
		return set.reason
	}
	return ""
}

// pick takes two endpoints at random and returns the one with fewer requests in
// flight: close to the best choice without looking at all of them, and without
// the herds that "the least loaded" makes. It returns nil from an empty set.
func (s *endpointSet) pick() *endpoint {
	switch n := len(s.endpoints); n {
	case 0:
		return nil
	case 1:
		return s.endpoints[0]
	default:
		i := rand.IntN(n)
		j := (i + 1 + rand.IntN(n-1)) % n
		a, b := s.endpoints[i], s.endpoints[j]
		if ha, hb := a.healthy(), b.healthy(); ha != hb {
			if ha {
				return a
			}
			return b
		} else if !ha {
			return s.firstHealthy(a)
		}
		if b.inflight.Load() < a.inflight.Load() {
			return b
		}
		return a
	}
}

// firstHealthy looks at every endpoint; otherwise is returned when none is healthy.
func (s *endpointSet) firstHealthy(otherwise *endpoint) *endpoint {
	offset := rand.IntN(len(s.endpoints))
	for i := range s.endpoints {
		if e := s.endpoints[(i+offset)%len(s.endpoints)]; e.healthy() {
			return e
		}
	}
	return otherwise
}

func (s *endpointSet) anyHealthy() bool {
	for _, e := range s.endpoints {
		if e.healthy() {
			return true
		}
	}
	return false
}

// patience is how long one request still waits for a backend. Its zero value
// has not started; a request that finds an endpoint at once never starts it.
type patience struct{ until time.Time }

// wait returns when the set was replaced, when it is time to try its endpoints
// again, or false when patience or the request has ended.
func (p *patience) wait(ctx context.Context, set *endpointSet) bool {
	now := time.Now()
	if p.until.IsZero() {
		p.until = now.Add(endpointWindow)
	}
	pause := p.until.Sub(now)
	if pause <= 0 {
		return false
	}
	if len(set.endpoints) > 0 {
		pause = min(pause, retryPause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-set.replaced:
		return true
	case <-timer.C:
		return len(set.endpoints) > 0
	case <-ctx.Done():
		return false
	}
}
