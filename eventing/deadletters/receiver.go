package deadletters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

const (
	// headNamespace is set by Knative's dispatchers to the namespace of the
	// Trigger or Subscription that gave up. Nobody else reaches the Receiver: a
	// NetworkPolicy sees to that.
	headNamespace = "Kn-Namespace"
	// maxData is the most of a request that is read, in bytes. An event of more is
	// kept without its data.
	maxData = 3 << 20
	// inMemory bounds all events that are being kept at once, in bytes. Each
	// takes several times its size.
	inMemory = 16 << 20
	// patience is how long an event waits for the store to come back; it covers a
	// restart of its pod.
	patience = 40 * time.Second
	// oneTry is how long the store may take, and again the wait before the next.
	oneTry = 2 * time.Second
	again  = 500 * time.Millisecond
)

// Receiver is the dead-letter sink: it keeps the events that it is sent, and
// answers 202 only when the store has them.
type Receiver struct {
	store  keeper
	blame  blame
	memory *semaphore.Weighted
	now    func() time.Time
	wait   time.Duration // for the store
}

// keeper is what a Receiver needs of the Store.
type keeper interface {
	Put(ctx context.Context, namespace string, letter deadletter.Letter, event []byte, same string) error
}

// ServeHTTP takes a CloudEvent in any mode but batches, which Knative never sends.
func (h *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "send a CloudEvent with POST", http.StatusMethodNotAllowed)
		return
	}
	namespace := r.Header.Get(headNamespace)
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		http.Error(w, "the header "+headNamespace+" names no namespace: this sink takes what Knative's dispatchers could not deliver", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.wait)
	defer cancel()
	if err := h.keep(ctx, namespace, r); err != nil {
		klog.FromContext(ctx).Error(err, "A dead letter is not kept", "namespace", namespace)
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// errMalformed marks a request that is no event.
var errMalformed = errors.New("this is no CloudEvent")

func statusOf(err error) int {
	if errors.Is(err, errMalformed) {
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

func (h *Receiver) keep(ctx context.Context, namespace string, r *http.Request) error {
	weight := int64(maxData)
	if r.ContentLength >= 0 {
		weight = min(weight, r.ContentLength+1)
	}
	if err := h.memory.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("%w: too many dead letters are being kept at once", deadletter.ErrUnavailable)
	}
	defer h.memory.Release(weight)
	e, lost, err := readEvent(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	letter, fromBroker := takeReason(e)
	letter.Time, letter.DataLost = h.now().UTC(), lost
	if trace := r.Header.Get("Traceparent"); len(trace) <= maxTrace {
		letter.Traceparent = trace
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if len(raw) > MaxEvent {
		e.DataEncoded, letter.DataLost = nil, true
		if raw, err = json.Marshal(e); err != nil || len(raw) > MaxEvent {
			return fmt.Errorf("%w that can be kept: its attributes alone have %d bytes", errMalformed, len(raw))
		}
	}
	// Whom to blame is looked up with the store's patience, and not knowing it
	// keeps no event from being kept.
	letter.Kind, letter.Name = h.blame.find(ctx, namespace, letter, e, fromBroker)
	return h.put(ctx, namespace, letter, raw, sameKey(letter, e))
}

// put tries until the store has the event or patience is over.
func (h *Receiver) put(ctx context.Context, namespace string, letter deadletter.Letter, raw []byte, same string) error {
	for {
		// What was sent into a connection that just broke is answered by nobody.
		try, cancel := context.WithTimeout(ctx, oneTry)
		err := h.store.Put(try, namespace, letter, raw, same)
		cancel()
		if err == nil || !errors.Is(err, deadletter.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

// readEvent reads an event; lost tells that its data is too large, and is left
// out. Only in binary mode can its attributes be read without it.
func readEvent(r *http.Request) (e *event.Event, lost bool, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxData+1))
	if err != nil {
		return nil, false, fmt.Errorf("read it: %w", err)
	}
	if lost = len(body) > maxData; lost {
		if r.Header.Get("Ce-Specversion") == "" {
			return nil, true, fmt.Errorf("it is in structured mode and has more than %d bytes", maxData)
		}
		body = nil
	}
	read := r.Clone(r.Context())
	read.Body, read.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if e, err = cehttp.NewEventFromHTTPRequest(read); err != nil {
		return nil, lost, err
	}
	return e, lost, e.Validate()
}
