//go:build go1.24

package shim

import (
	"sort"
	"sync"
	"time"
)

// durationBounds are those that the HTTP conventions advise, in seconds.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// mostSeries bounds what callers can make the process keep; beyond, durations
// are counted together.
const mostSeries = 1000

// series names one time series of http.server.request.duration.
type series struct {
	method, protocol string
	status           int
	failure          string
}

// overflow is the series of what is beyond the bound.
var overflow = series{}

type histogram struct {
	counts   []uint64 // one more than bounds
	sum      float64
	min, max float64
}

// metrics counts requests since the process began.
type metrics struct {
	begun     time.Time
	lock      sync.Mutex
	durations map[series]*histogram
	active    map[string]int64 // by method
}

func newMetrics() *metrics {
	return &metrics{begun: time.Now(), durations: map[series]*histogram{}, active: map[string]int64{}}
}

func (m *metrics) enter(method string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.active[method]++
}

func (m *metrics) leave(method string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.active[method]--
}

func (m *metrics) observe(s series, took time.Duration) {
	seconds := took.Seconds()
	m.lock.Lock()
	defer m.lock.Unlock()
	h, ok := m.durations[s]
	if !ok && len(m.durations) >= mostSeries {
		s = overflow
		h, ok = m.durations[s]
	}
	if !ok {
		h = &histogram{counts: make([]uint64, len(durationBounds)+1), min: seconds, max: seconds}
		m.durations[s] = h
	}
	h.counts[sort.SearchFloat64s(durationBounds, seconds)]++
	h.sum += seconds
	h.min, h.max = min(h.min, seconds), max(h.max, seconds)
}
