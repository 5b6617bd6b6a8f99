package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/tap"
)

// Taps listens for events.
type Taps interface {
	// Tap listens for events of a namespace until ctx ends or line fails. It
	// hands over what comes, one line at a time, the first with its address.
	Tap(ctx context.Context, namespace string, line func(tap.Line) error) error
}

const (
	// tapTimeout is how long a stream may last.
	tapTimeout = time.Hour
	// tapStreams is how many there are at once in a replica.
	tapStreams = 16
)

// tapHandler streams what a Trigger or Subscription of the caller sends, for those
// who may get brokers/log or channels/log in its namespace. It makes no object: the
// caller does, with rights of their own.
//
//	GET …/namespaces/{namespace}/brokers/{name}/log
//	GET …/namespaces/{namespace}/channels/{name}/log
//
// The answer is a tap.Line in each line.
type tapHandler struct {
	taps      Taps
	addresses addresses
	streams   *slots
	timeout   time.Duration
}

func (h *tapHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if r.Method != http.MethodGet {
		writeError(w, r, methodNotAllowed(w, r, "GET"))
		return
	}
	if h.taps == nil {
		writeError(w, r, apierrors.NewServiceUnavailable("this installation cannot show events that pass: its control plane does not know its own address"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
	defer cancel()
	to := target{resource: info.Resource, key: types.NamespacedName{Namespace: info.Namespace, Name: info.Name}}
	if _, err := h.addresses.find(ctx, to); err != nil {
		writeError(w, r, err)
		return
	}
	release, ok := h.streams.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many brokers and channels are being tapped in namespace %q or in all; try again", info.Namespace), logRetrySeconds))
		return
	}
	defer release()
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	out := &flushWriter{to: w, control: http.NewResponseController(w)}
	_ = h.taps.Tap(ctx, info.Namespace, func(line tap.Line) error {
		raw, err := json.Marshal(line)
		if err == nil {
			_, err = out.Write(append(raw, '\n'))
		}
		return err
	})
}
