package taps

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/knit-dev/knit/functions/api/tap"
)

const (
	// Prefix begins the paths of the listener.
	Prefix = "/taps/"
	// nowhere is a path that no session has.
	nowhere = Prefix + "nowhere"
	// headNamespace is set by Knative's dispatchers to the namespace of the Trigger
	// or Subscription. Nobody else reaches the listener: a NetworkPolicy sees to that.
	headNamespace = "Kn-Namespace"
	// maxEvent is the largest event that is shown, in bytes. A larger one counts as
	// dropped, and so does one for which there is no room: inMemory is for all that
	// are being read, each takes several times its size.
	maxEvent = 1 << 20
	inMemory = 8 << 20
)

// Taps holds the sessions of this replica.
type Taps struct {
	here    string // http://ADDRESS:PORT of this replica
	sink    string // the same of any replica
	memory  *semaphore.Weighted
	now     func() time.Time
	renewal time.Duration

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*session
}

// New returns one that is reached at here, a URL without a path that leads to this
// replica and no other: a stream and its events must meet. Sink leads to any.
func New(here, sink string) *Taps {
	return &Taps{
		here: here, sink: sink, memory: semaphore.NewWeighted(inMemory), now: time.Now, renewal: tap.Renewal,
		sessions: map[[sha256.Size]byte]*session{},
	}
}

// Tap opens a session with an address that cannot be guessed, and hands over what
// comes until ctx ends or line fails.
func (t *Taps) Tap(ctx context.Context, namespace string, line func(tap.Line) error) error {
	token := rand.Text() + rand.Text()
	s := newSession(namespace)
	t.add(token, s)
	defer t.remove(token)
	expires := t.now().Add(tap.Life).UTC().Truncate(time.Second)
	open := &tap.Open{URL: t.here + Prefix + token, Nowhere: t.sink + nowhere}
	if err := line(tap.Line{Open: open, Expires: &expires}); err != nil {
		return err
	}
	renew := time.NewTicker(t.renewal)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-renew.C:
			// It also keeps the connection from looking dead.
			expires := t.now().Add(tap.Life).UTC().Truncate(time.Second)
			if err := line(tap.Line{Expires: &expires}); err != nil {
				return err
			}
		case <-s.wake:
			if err := s.drain(line); err != nil {
				return err
			}
		}
	}
}

// ServeHTTP takes whatever it is sent, at once, and answers without a reply.
func (t *Taps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := t.find(strings.TrimPrefix(r.URL.Path, Prefix)); s != nil && r.Header.Get(headNamespace) == s.namespace {
		if raw := t.read(r); raw == nil {
			s.drop()
		} else {
			s.offer(raw)
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// read returns the event of a request in JSON, or nil when it cannot be shown.
func (t *Taps) read(r *http.Request) []byte {
	if r.ContentLength > maxEvent {
		return nil
	}
	weight := int64(maxEvent)
	if r.ContentLength >= 0 {
		weight = r.ContentLength + 1
	}
	if !t.memory.TryAcquire(weight) {
		return nil
	}
	defer t.memory.Release(weight)
	raw, err := readEvent(r)
	if err != nil {
		return nil
	}
	return raw
}

// Sessions are kept by the sum of their token, so that how long it takes to look
// one up tells nothing of it.
func (t *Taps) add(token string, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[sha256.Sum256([]byte(token))] = s
}

func (t *Taps) remove(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, sha256.Sum256([]byte(token)))
}

func (t *Taps) find(token string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[sha256.Sum256([]byte(token))]
}
