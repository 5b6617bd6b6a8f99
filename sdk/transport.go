package sdk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// timeoutHeader tells a function how long its caller waits. Its runtime ends the
// request then, if not earlier.
const timeoutHeader = "Knit-Timeout"

type transportKey struct{}

// WithTransport returns a context in which the SDK sends through another
// transport: one of a test, or one with certificates of its own.
func WithTransport(ctx context.Context, transport http.RoundTripper) context.Context {
	return context.WithValue(ctx, transportKey{}, transport)
}

// direct uses no proxy: what it reaches is in the cluster. It keeps connections,
// as functions often send to the same few places.
var direct = func() http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 32
	transport.ResponseHeaderTimeout = 0 // the context bounds it
	return transport
}()

// roundTrip sends a request with the trace context and the deadline of the one
// that is being served. It follows no redirect. Its errors have a status: 504
// after the deadline, else 502.
func roundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	served := headerOf(ctx)
	for _, name := range []string{"Traceparent", "Tracestate", "X-Request-Id"} {
		if value := served.Get(name); value != "" && request.Header.Get(name) == "" {
			request.Header.Set(name, value)
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		request.Header.Set(timeoutHeader, max(0, time.Until(deadline)).Round(time.Millisecond).String())
	}
	transport, ok := ctx.Value(transportKey{}).(http.RoundTripper)
	if !ok {
		transport = direct
	}
	answer, err := transport.RoundTrip(request)
	if err == nil {
		return answer, nil
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(err, ctx.Err())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, Errorf(http.StatusGatewayTimeout, "%s did not answer in time: %w", host(request), err)
	}
	return nil, Errorf(http.StatusBadGateway, "no answer from %s: %w", host(request), err)
}

func host(request *http.Request) string {
	name, _, _ := strings.Cut(request.URL.Host, ":")
	return name
}
