package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
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

// NewHTTPSender makes a sender that reaches the cluster and the world, but not
// what only the control plane itself could: the addresses of its own machine
// and link-local ones, where clouds answer with credentials.
func NewHTTPSender() *HTTPSender { return newHTTPSender(forbidden) }

func newHTTPSender(refuse func(netip.Addr) bool) *HTTPSender {
	dialer := &net.Dialer{
		Timeout: 5 * time.Second,
		// Control sees the address after names were resolved, so that no name
		// can stand for a forbidden one.
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if refuse(to.Addr().Unmap()) {
				return permanent(fmt.Errorf("a Schedule may not send to %s: it is an address of the machine itself or link-local", to.Addr()))
			}
			return nil
		},
	}
	return &HTTPSender{client: &http.Client{
		Timeout: sendTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext,
			// While a function is made, its name leads elsewhere for a moment. A
			// connection from then, kept for the next attempt, would go on leading
			// there as long as there are attempts.
			DisableKeepAlives:      true,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// An event goes where it was said to, not where the answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func forbidden(a netip.Addr) bool {
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsMulticast() || a.IsUnspecified()
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
	if err != nil {
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
