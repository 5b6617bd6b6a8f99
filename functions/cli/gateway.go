package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

// gatewayClient calls functions. Names below "localhost" are this machine
// (RFC 6761, section 6.3), but neither Go nor glibc resolve them, so they are
// dialled here. Redirects are shown, not followed: they are answers too.
func gatewayClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, localAddress(address))
	}
	return &http.Client{
		Transport:     localPastProxy(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// localPastProxy keeps calls to this machine away from an HTTP proxy of the
// environment, which could not reach it.
func localPastProxy(transport *http.Transport) *http.Transport {
	proxy := transport.Proxy
	transport.Proxy = func(request *http.Request) (*url.URL, error) {
		if isLocal(request.URL.Hostname()) || proxy == nil {
			return nil, nil
		}
		return proxy(request)
	}
	return transport
}

// localAddress is the address to dial for a host:port.
func localAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isLocal(host) {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func isLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// times are when the steps of a call happened.
type times struct {
	now                                                 func() time.Time
	began, resolved, connected, secured, sent, answered time.Time
}

func newTimes(now func() time.Time) *times { return &times{now: now, began: now()} }

func (t *times) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSDone:              func(httptrace.DNSDoneInfo) { t.resolved = t.now() },
		ConnectDone:          func(string, string, error) { t.connected = t.now() },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { t.secured = t.now() },
		WroteRequest:         func(httptrace.WroteRequestInfo) { t.sent = t.now() },
		GotFirstResponseByte: func() { t.answered = t.now() },
	}
}

// show writes how long each step took, since the one before.
func (t *times) show(w io.Writer) {
	done, last := t.now(), t.began
	var parts []string
	add := func(name string, at time.Time) {
		if at.IsZero() {
			return
		}
		parts = append(parts, fmt.Sprintf("%s %s", name, at.Sub(last).Round(100*time.Microsecond)))
		last = at
	}
	add("dns", t.resolved)
	add("connect", t.connected)
	add("tls", t.secured)
	add("send", t.sent)
	add("first byte", t.answered)
	add("body", done)
	fmt.Fprintf(w, "times: %s, total %s\n", strings.Join(parts, ", "), done.Sub(t.began).Round(100*time.Microsecond))
}
