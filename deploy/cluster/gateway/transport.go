package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// transport sends a request to an endpoint of its exchange's backend. It tries
// another one only while nothing has been sent: a request is never repeated.
type transport struct {
	h1  http.RoundTripper
	h2c http.RoundTripper
}

func newTransport() *transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	pooled := func() *http.Transport {
		return &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, &dialError{err}
				}
				return conn, nil
			},
			DisableCompression:     true, // bodies pass through as they are
			MaxIdleConns:           backendIdleTotal,
			MaxIdleConnsPerHost:    backendIdlePerPod,
			IdleConnTimeout:        backendIdleTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxResponseHeaders,
			Protocols:              new(http.Protocols),
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: backendPingAfter, PingTimeout: pingTimeout},
		}
	}
	h1, h2c := pooled(), pooled()
	h1.Protocols.SetHTTP1(true)
	h2c.Protocols.SetUnencryptedHTTP2(true)
	return &transport{h1: h1, h2c: h2c}
}

// closeIdle gives connections back when the gateway stops.
func (t *transport) closeIdle() {
	for _, rt := range []http.RoundTripper{t.h1, t.h2c} {
		if c, ok := rt.(*http.Transport); ok {
			c.CloseIdleConnections()
		}
	}
}

// dialError marks failures before the first byte was sent.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// unavailableError is answered with 503.
type unavailableError struct {
	key    backendKey
	reason string // for the client; no addresses
	cause  error  // for the log; may be nil
}

func (e *unavailableError) Error() string {
	if e.cause == nil {
		return e.reason
	}
	return e.reason + ": " + e.cause.Error()
}

// RoundTrip implements http.RoundTripper for requests whose context is an exchange.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	if x.backend == nil {
		return nil, errors.New("gateway: request without a backend")
	}
	var body *requestBody
	if req.Body != nil && req.Body != http.NoBody {
		body = newRequestBody(req.Body, x.in)
	}
	var wait patience
	var failed error
	for {
		set := x.backend.set.Load()
		if e := set.pick(); e != nil {
			res, err := t.send(req, body, set, e)
			if err == nil || !errors.As(err, new(*dialError)) || req.Context().Err() != nil {
				return res, err
			}
			failed = err
			e.eject()
			if set.anyHealthy() {
				continue
			}
		}
		if !wait.wait(req.Context(), set) {
			if err := req.Context().Err(); err != nil {
				return nil, err
			}
			return nil, unavailable(x.backend, failed)
		}
	}
}

func (t *transport) send(req *http.Request, body *requestBody, set *endpointSet, e *endpoint) (*http.Response, error) {
	x := exchangeOf(req.Context())
	x.use(e)
	req.URL.Host = e.address
	if e.self {
		req.Header[hopsHeader] = x.nextHop()
	}
	next := t.h1
	if set.h2c && len(req.Header["Upgrade"]) == 0 { // a protocol upgrade exists in HTTP/1.1 only
		next = t.h2c
	}
	if body != nil {
		body.attach(req, next == t.h2c)
	}
	res, err := next.RoundTrip(req)
	if err == nil {
		e.readmit()
	}
	return res, err
}

func unavailable(b *backend, cause error) error {
	reason := b.unavailable()
	if reason == "" {
		reason = fmt.Sprintf("no endpoint of Service %s can be reached", b.key.name())
	}
	return &unavailableError{key: b.key, reason: reason, cause: cause}
}
