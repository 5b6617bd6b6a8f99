package taps

import (
	"sync"

	"github.com/knit-dev/knit/functions/api/tap"
)

// Bounds of what waits for a reader, those being written included.
const (
	maxWaiting      = 1000
	maxWaitingBytes = 4 << 20
)

// session is one stream: a queue that drops what does not fit.
type session struct {
	namespace string
	wake      chan struct{} // has something in it when there is something to write

	mu      sync.Mutex
	waiting [][]byte
	count   int // of events, with those being written
	bytes   int
	dropped int
}

func newSession(namespace string) *session {
	return &session{namespace: namespace, wake: make(chan struct{}, 1)}
}

// offer queues an event, or drops it. It never waits.
func (s *session) offer(event []byte) {
	s.mu.Lock()
	if s.count >= maxWaiting || s.bytes+len(event) > maxWaitingBytes {
		s.dropped++
	} else {
		s.waiting, s.count, s.bytes = append(s.waiting, event), s.count+1, s.bytes+len(event)
	}
	s.mu.Unlock()
	s.notify()
}

func (s *session) drop() {
	s.mu.Lock()
	s.dropped++
	s.mu.Unlock()
	s.notify()
}

func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drain writes what waits, and then how many were dropped meanwhile.
func (s *session) drain(line func(tap.Line) error) error {
	s.mu.Lock()
	events, dropped := s.waiting, s.dropped
	s.waiting, s.dropped = nil, 0
	s.mu.Unlock()
	for _, event := range events {
		err := line(tap.Line{Event: event})
		s.mu.Lock()
		s.count, s.bytes = s.count-1, s.bytes-len(event)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if dropped > 0 {
		return line(tap.Line{Dropped: dropped})
	}
	return nil
}
