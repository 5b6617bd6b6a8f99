package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/emission"
	"github.com/knit-dev/knit/functions/reconcile"
)

const (
	// eventTimeout is how long an event may take, with what comes before.
	eventTimeout = 25 * time.Second
	// eventSenders is how many events a replica holds at once. Each is in memory
	// as it came and as it was read.
	eventSenders = 16
)

// eventHandler sends an event to a Broker or a Channel for those who may create
// brokers/events or channels/events in its namespace, wherever they are.
//
//	POST …/namespaces/{namespace}/brokers/{name}/events?mode=structured
//	POST …/namespaces/{namespace}/channels/{name}/events
type eventHandler struct {
	addresses addresses
	client    *http.Client
	calls     *slots
	timeout   time.Duration
}

// newEventClient reaches what a tenant may name, and nothing of the machine.
func newEventClient() *http.Client { return reconcile.Egress(eventTimeout, reconcile.Forbidden) }

func (h *eventHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	release, ok := h.calls.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many events are being sent through the API in namespace %q or in all; try again", info.Namespace), 1))
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
	defer cancel()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.timeout + time.Second))

	to := target{resource: info.Resource, key: types.NamespacedName{Namespace: info.Namespace, Name: info.Name}}
	answer, err := h.serve(ctx, w, r, to)
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

func (h *eventHandler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, to target) (emission.Answer, error) {
	mode, err := readMode(w, r)
	if err != nil {
		return emission.Answer{}, err
	}
	// First the object: without it nobody has to read a large event.
	address, err := h.addresses.find(ctx, to)
	if err != nil {
		return emission.Answer{}, err
	}
	e, err := readEvent(w, r)
	if err != nil {
		return emission.Answer{}, err
	}
	return h.send(ctx, to, address, e, mode)
}

// readMode reads everything of a request but its body.
func readMode(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.Method != http.MethodPost {
		return "", methodNotAllowed(w, r, "POST")
	}
	if r.ContentLength > emission.MaxBody {
		return "", eventTooLarge()
	}
	given := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(given); given != "" && (err != nil || media != emission.ContentType && media != "application/json") {
		return "", statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
			fmt.Sprintf("the content type is %q; send one event in the JSON format of CloudEvents, %s, and choose by %s= how it goes on", given, emission.ContentType, emission.QueryMode))
	}
	switch mode := r.URL.Query().Get(emission.QueryMode); mode {
	case "", emission.ModeBinary:
		return emission.ModeBinary, nil
	case emission.ModeStructured:
		return mode, nil
	default:
		return "", apierrors.NewBadRequest(fmt.Sprintf("%s=%q is neither %s nor %s", emission.QueryMode, mode, emission.ModeBinary, emission.ModeStructured))
	}
}

func eventTooLarge() error {
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the event has more than the limit of %d bytes; put its data somewhere and send the address", emission.MaxBody))
}

func readEvent(w http.ResponseWriter, r *http.Request) (*event.Event, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, emission.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, eventTooLarge()
	case err != nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read the event: %v", err))
	case !json.Valid(raw):
		return nil, apierrors.NewBadRequest("the body is no JSON; send one event in the JSON format of CloudEvents")
	}
	e := &event.Event{}
	if err = json.Unmarshal(raw, e); err == nil {
		err = e.Validate()
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("this is no valid CloudEvent: %s", oneLine(err)))
	}
	return e, nil
}

// oneLine is an error of the CloudEvents SDK, which writes one for each attribute.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func (h *eventHandler) send(ctx context.Context, to target, address string, e *event.Event, mode string) (emission.Answer, error) {
	encode := binding.WithForceBinary(ctx)
	if mode == emission.ModeStructured {
		encode = binding.WithForceStructured(ctx)
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return emission.Answer{}, apierrors.NewServiceUnavailable(fmt.Sprintf("the address of %s cannot be used: %v", to, err))
	}
	if err := cehttp.WriteRequest(encode, binding.ToMessage(e), out); err != nil {
		return emission.Answer{}, apierrors.NewBadRequest(fmt.Sprintf("write the event in %s mode: %s", mode, oneLine(err)))
	}
	out.Header.Set("User-Agent", "knit-service")
	if name, bad := unsendable(out.Header); bad {
		return emission.Answer{}, apierrors.NewBadRequest(fmt.Sprintf("the attribute %s has control characters, which an event may not have", strings.ToLower(strings.TrimPrefix(name, "Ce-"))))
	}
	answer, err := h.client.Do(out)
	if err != nil {
		return emission.Answer{}, h.explain(ctx, to, err)
	}
	_ = answer.Body.Close()
	return emission.Answer{Status: answer.StatusCode}, nil
}

// unsendable returns a header that HTTP does not carry.
func unsendable(header http.Header) (name string, found bool) {
	for name, values := range header {
		for _, value := range values {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return name, true
			}
		}
	}
	return "", false
}

func (h *eventHandler) explain(ctx context.Context, to target, err error) error {
	var forbidden reconcile.ForbiddenAddress
	switch {
	case errors.As(err, &forbidden):
		return apierrors.NewBadRequest(fmt.Sprintf("send to %s: %v", to, forbidden))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return apierrors.NewTimeoutError(fmt.Sprintf("%s did not answer within %s; whether it has the event is not known", to, h.timeout), 0)
	}
	return apierrors.NewServiceUnavailable(fmt.Sprintf("send to %s: %v", to, err))
}
