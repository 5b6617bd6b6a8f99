package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// permanentError is an error that another attempt cannot help.
type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

func permanent(err error) error { return permanentError{err} }

// Permanent reports whether another attempt is of no use.
func Permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// HTTPSender sends events by HTTP in the binary mode of CloudEvents.
type HTTPSender struct{ client *http.Client }

// NewHTTPSender makes a sender for addresses that tenants choose.
func NewHTTPSender() *HTTPSender { return newHTTPSender(reconcile.Forbidden) }

func newHTTPSender(refuse func(netip.Addr) bool) *HTTPSender {
	return &HTTPSender{client: reconcile.Egress(v1alpha1.MaxSinkTimeout, refuse)}
}

// maxAnswer is how much of an answer is read, in bytes; maxQuote how much of it
// is shown.
const (
	maxAnswer = 16 << 10
	maxQuote  = 200
)

// Send implements Sender.
func (s *HTTPSender) Send(ctx context.Context, uri string, event cloudevents.Event) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, nil)
	if err != nil {
		return permanent(err)
	}
	if err := cehttp.WriteRequest(ctx, binding.ToMessage(&event), req); err != nil {
		return permanent(fmt.Errorf("write the event: %w", err))
	}
	res, err := s.client.Do(req)
	var forbidden reconcile.ForbiddenAddress
	switch {
	case errors.As(err, &forbidden):
		return permanent(fmt.Errorf("send to the sink: %w", err))
	case err != nil:
		return fmt.Errorf("send to the sink: %w", err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("the sink %s answered %s%s", uri, res.Status, quote(answer))
	if final(res.StatusCode) {
		return permanent(err)
	}
	return err
}

// readiness is the path of the health of a function (runtime/CONTRACT.md).
const readiness = "/health/readiness"

// Wake implements Waker.
func (s *HTTPSender) Wake(ctx context.Context, uri string) error {
	address, err := url.JoinPath(uri, readiness)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, res.Status)
	}
	return nil
}

// final reports whether a status means that the sink will not take this event.
// The others may pass: the sink is not there yet, is busy, or is broken. It is
// how Knative's senders decide.
func final(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < 500
}

func quote(answer []byte) string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(answer[:min(len(answer), maxQuote)], nil)))
	if text == "" {
		return ""
	}
	return ": " + text
}
