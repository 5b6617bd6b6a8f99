package service

import "sync"

// slots bounds what runs at once, in all and for each namespace, so that one
// tenant's slow connections cannot lock out the others. Nothing waits: who
// gets no slot is told to come again.
type slots struct {
	total, each int

	mu    sync.Mutex
	taken map[string]int
	sum   int
}

// newSlots gives a single namespace at most half of the total, at least one.
func newSlots(total int) *slots {
	return &slots{total: total, each: max(1, total/2), taken: map[string]int{}}
}

// take returns a function that gives the slot back, and false when there is none.
func (s *slots) take(namespace string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum >= s.total || s.taken[namespace] >= s.each {
		return nil, false
	}
	s.sum++
	s.taken[namespace]++
	return sync.OnceFunc(func() { s.give(namespace) }), true
}

func (s *slots) give(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum--
	if s.taken[namespace]--; s.taken[namespace] == 0 {
		delete(s.taken, namespace)
	}
}
