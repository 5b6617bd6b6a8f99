package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// DeadLetters keeps events that could not be delivered. Errors are
// deadletter.ErrNotFound, deadletter.ErrUnavailable or the server's own.
type DeadLetters interface {
	List(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.List, error)
	Get(ctx context.Context, namespace string, id uint64) (deadletter.Content, error)
	// Purge drops letters until ctx ends.
	Purge(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.Purged, error)
	// Redrive sends letters again for some seconds, reports each, one at a time,
	// and returns the id after which to go on, or zero.
	Redrive(ctx context.Context, namespace string, request deadletter.Redrive, report func(deadletter.Outcome)) (uint64, error)
}

const (
	// deadLetterTimeout is how long a request may take, first to last byte; less
	// than a kube-apiserver waits.
	deadLetterTimeout = 55 * time.Second
	// purgeTime is how long letters are dropped for one request.
	purgeTime = 20 * time.Second
	// deadLetterReaders is how many are served at once by a replica.
	deadLetterReaders = 16
)

// deadLetterHandler hands out the events of a namespace that could not be
// delivered, drops them, and sends them again.
//
//	GET    …/namespaces/{namespace}/deadletters?kind=Trigger&name=paid&type=order.placed
//	GET    …/namespaces/{namespace}/deadletters/{id}
//	DELETE …/namespaces/{namespace}/deadletters?…
//	POST   …/namespaces/{namespace}/redrives?…
//
// The answer to POST is a deadletter.Redriven in each line.
type deadLetterHandler struct {
	letters DeadLetters
	calls   *slots
	now     func() time.Time
}

func (h *deadLetterHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if h.letters == nil {
		writeError(w, r, apierrors.NewServiceUnavailable("this installation keeps no dead letters"))
		return
	}
	release, ok := h.calls.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many requests for dead letters in namespace %q or in all; try again", info.Namespace), 1))
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), deadLetterTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	if info.Resource == resourceRedrives {
		h.redrive(w, r, info)
		return
	}
	answer, err := h.answer(r, info)
	if err != nil {
		writeError(w, r, explainDeadLetters(err))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

func (h *deadLetterHandler) answer(r *http.Request, info *request.RequestInfo) (any, error) {
	if info.Name != "" {
		if r.Method != http.MethodGet {
			return nil, statusError(http.StatusMethodNotAllowed, "MethodNotAllowed", "a single dead letter is only read; select what to drop by the parameter id")
		}
		id, err := strconv.ParseUint(info.Name, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%q is no id of a dead letter, which is a number", info.Name))
		}
		return h.letters.Get(r.Context(), info.Namespace, id)
	}
	selection, err := deadletter.ParseSelection(r.URL.Query())
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	switch r.Method {
	case http.MethodGet:
		return h.letters.List(r.Context(), info.Namespace, selection)
	case http.MethodDelete:
		ctx, cancel := context.WithTimeout(r.Context(), purgeTime)
		defer cancel()
		return h.letters.Purge(ctx, info.Namespace, selection)
	}
	return nil, statusError(http.StatusMethodNotAllowed, "MethodNotAllowed", "use GET or DELETE")
}

// untilNow leaves out what comes while the request is served, which would never end.
func (h *deadLetterHandler) untilNow(until time.Time) time.Time {
	if now := h.now(); until.IsZero() || until.After(now) {
		return now
	}
	return until
}

func (h *deadLetterHandler) redrive(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	if r.Method != http.MethodPost || info.Name != "" {
		writeError(w, r, methodNotAllowed(w, r, "POST without a name"))
		return
	}
	wanted, err := deadletter.ParseRedrive(r.URL.Query())
	if err != nil {
		writeError(w, r, apierrors.NewBadRequest(err.Error()))
		return
	}
	wanted.Until = h.untilNow(wanted.Until)
	out := &redriveAnswer{w: w, control: http.NewResponseController(w)}
	next, err := h.letters.Redrive(r.Context(), info.Namespace, wanted, func(o deadletter.Outcome) {
		out.line(deadletter.Redriven{Outcome: &o})
	})
	switch {
	case err != nil && !out.begun:
		writeError(w, r, explainDeadLetters(err))
	case err != nil:
		// Without an end, whoever reads knows that it broke off.
		panic(http.ErrAbortHandler)
	default:
		out.line(deadletter.Redriven{End: &deadletter.End{Continue: next}})
	}
}

// redriveAnswer writes one JSON value in a line, as soon as there is one.
type redriveAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (a *redriveAnswer) line(value deadletter.Redriven) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", "application/jsonl")
		a.w.Header().Set("Cache-Control", "no-store")
	}
	// Whoever went away reads no error either; the redrive ends with its context.
	_ = json.NewEncoder(a.w).Encode(value)
	_ = a.control.Flush()
}

func explainDeadLetters(err error) error {
	switch {
	case errors.Is(err, deadletter.ErrNotFound):
		return statusError(http.StatusNotFound, "NotFound", err.Error())
	case errors.Is(err, deadletter.ErrUnavailable):
		return apierrors.NewServiceUnavailable(err.Error())
	}
	return err
}
