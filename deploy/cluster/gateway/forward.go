package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     g.transport,
		FlushInterval: -1, // every write reaches the client at once
		BufferPool:    new(buffers),
		ErrorHandler:  g.proxyError,
		ErrorLog:      slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// rewrite makes the request to the pod from the request of the client.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "backend" // the transport fills in the endpoint
	out.URL.RawQuery = pr.In.URL.RawQuery            // ReverseProxy drops what it cannot parse; pods may want it
	out.Trailer = pr.In.Trailer                      // the same map: its values arrive with the end of the body
	dropH2CUpgrade(out.Header)
	delete(out.Header, hopsHeader)
	forwarded(pr, x)
	if x.route.rewriteHost != "" {
		out.Host = x.route.rewriteHost
	}
	for i := range x.route.set {
		out.Header[x.route.set[i].name] = x.route.set[i].values
	}
	for i := range x.split.set {
		out.Header[x.split.set[i].name] = x.split.set[i].values
	}
}

// forwarded writes the X-Forwarded headers. What a client from outside says of
// itself is dropped. From inside the cluster the headers are continued, since
// the request may have come through the external listener and a pod.
func forwarded(pr *httputil.ProxyRequest, x *exchange) {
	in, out := pr.In.Header, pr.Out.Header
	inside := x.visibility == v1alpha1.IngressVisibilityClusterLocal
	if client, _, err := net.SplitHostPort(pr.In.RemoteAddr); err == nil {
		if prior := in["X-Forwarded-For"]; inside && len(prior) > 0 {
			client = strings.Join(prior, ", ") + ", " + client
		}
		out["X-Forwarded-For"] = []string{client}
	}
	proto := "http"
	if x.secure {
		proto = "https"
	}
	out["X-Forwarded-Proto"] = []string{proto}
	out["X-Forwarded-Host"] = []string{pr.In.Host}
	if inside {
		keep(out, in, "X-Forwarded-Proto")
		keep(out, in, "X-Forwarded-Host")
	}
}

func keep(out, in http.Header, name string) {
	if values := in[name]; len(values) > 0 {
		out[name] = values[:1:1]
	}
}

// dropH2CUpgrade makes a plain HTTP/1.1 request from one that offers to go on
// in HTTP/2. Passed on, the offer would open a tunnel in which later requests
// reach the pod without passing the routing table.
func dropH2CUpgrade(h http.Header) {
	if len(h["Upgrade"]) > 0 && strings.Contains(strings.ToLower(h["Upgrade"][0]), "h2c") {
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
	delete(h, "Http2-Settings")
}

// proxyError answers for a pod that could not, unless the client has gone.
func (g *Gateway) proxyError(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		w.WriteHeader(http.StatusBadGateway) // nobody reads it
		return
	}
	x := exchangeOf(r.Context())
	name := "the backend"
	if x.backend != nil {
		name = "Service " + x.backend.key.name().String()
	}
	g.log.Debug("request failed", "host", r.Host, "path", r.URL.Path, "backend", name, "error", err)
	var none *unavailableError
	if errors.As(err, &none) {
		refuse(w, http.StatusServiceUnavailable, "%s", none.reason)
		return
	}
	refuse(w, http.StatusBadGateway, "%s broke off before it answered; its log says why", name)
}

// buffers is a pool of copy buffers. It keeps pointers to arrays, so that
// neither Get nor Put allocates.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if a, ok := b.pool.Get().(*[copyBufferSize]byte); ok {
		return a[:]
	}
	return new([copyBufferSize]byte)[:]
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(s []byte) {
	if len(s) == copyBufferSize {
		b.pool.Put((*[copyBufferSize]byte)(s))
	}
}
