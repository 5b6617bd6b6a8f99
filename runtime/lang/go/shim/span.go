//go:build go1.24

package shim

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

// spanContext is what W3C Trace Context hands from one process to the next:
// https://www.w3.org/TR/trace-context/.
type spanContext struct {
	traceID [16]byte
	id      [8]byte
	sampled bool
}

func (c spanContext) valid() bool { return c.traceID != [16]byte{} && c.id != [8]byte{} }

func (c spanContext) traceparent() string {
	flags := "-00"
	if c.sampled {
		flags = "-01"
	}
	return "00-" + hex.EncodeToString(c.traceID[:]) + "-" + hex.EncodeToString(c.id[:]) + flags
}

// parseTraceparent returns an invalid context for what is none. Versions to come
// may be longer.
func parseTraceparent(value string) spanContext {
	var c spanContext
	parts := strings.Split(value, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || (parts[0] == "00" && len(parts) != 4) || strings.ToLower(value) != value {
		return spanContext{}
	}
	var version, flags [1]byte
	for _, field := range []struct {
		to   []byte
		text string
	}{{version[:], parts[0]}, {c.traceID[:], parts[1]}, {c.id[:], parts[2]}, {flags[:], parts[3]}} {
		if hex.DecodedLen(len(field.text)) != len(field.to) || len(field.text)%2 != 0 {
			return spanContext{}
		}
		if _, err := hex.Decode(field.to, []byte(field.text)); err != nil {
			return spanContext{}
		}
	}
	c.sampled = flags[0]&1 == 1
	if !c.valid() {
		return spanContext{}
	}
	return c
}

// sampler decides which traces are recorded.
type sampler struct {
	parentBased bool    // a caller's decision holds
	ratio       float64 // of the traces that begin here: 0 none, 1 all
}

func (s sampler) sample(parent spanContext, traceID [16]byte) bool {
	if s.parentBased && parent.valid() {
		return parent.sampled
	}
	return float64(binary.BigEndian.Uint64(traceID[8:])>>1) < s.ratio*(1<<63)
}

// kindServer is SPAN_KIND_SERVER of OTLP.
const kindServer = 2

// span is one operation, as it is kept until it is exported.
type span struct {
	spanContext
	parentID     [8]byte
	state        string // tracestate
	name         string
	kind         int
	begun, ended time.Time
	attributes   []attribute
	failure      string // error.type; empty: none
}

// attribute has a string, int, bool or float64 as its value.
type attribute struct {
	key   string
	value any
}

// What a caller can make a waiting span hold, in bytes.
const (
	mostText  = 1024 // of one attribute
	mostState = 512  // of the tracestate, as much as W3C asks to be handed on
)

func (s *span) set(key string, value any) {
	if !s.sampled {
		return
	}
	if text, ok := value.(string); ok {
		// A copy, or the span would keep the whole request line or header.
		value = strings.Clone(text[:min(len(text), mostText)])
	}
	s.attributes = append(s.attributes, attribute{key, value})
}

// spanQueue keeps spans until they are exported. It is bounded: what comes when
// it is full is lost, and counted.
type spanQueue struct {
	lock  sync.Mutex
	spans []span
	most  int
	lost  int
	ready chan struct{} // gets something when a whole batch waits
}

const batchSize = 512 // spans of one export

func newSpanQueue(most int) *spanQueue {
	return &spanQueue{most: most, ready: make(chan struct{}, 1)}
}

// add never waits for more than another span to be added.
func (q *spanQueue) add(s span) {
	q.lock.Lock()
	defer q.lock.Unlock()
	if len(q.spans) >= q.most {
		q.lost++
		return
	}
	q.spans = append(q.spans, s)
	if len(q.spans) == min(batchSize, q.most) {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
}

// batch returns the oldest spans, which stay until they are removed.
func (q *spanQueue) batch() []span {
	q.lock.Lock()
	defer q.lock.Unlock()
	return append([]span(nil), q.spans[:min(len(q.spans), batchSize)]...)
}

// remove takes the oldest spans out; lost tells whether nobody has them now.
func (q *spanQueue) remove(n int, lost bool) {
	q.lock.Lock()
	defer q.lock.Unlock()
	q.spans = append(q.spans[:0], q.spans[n:]...)
	if lost {
		q.lost += n
	}
}

func (q *spanQueue) counts() (waiting, lost int) {
	q.lock.Lock()
	defer q.lock.Unlock()
	return len(q.spans), q.lost
}
