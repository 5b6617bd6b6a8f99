package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
)

// front is the handler of the listeners of one visibility.
type front struct {
	g          *Gateway
	visibility v1alpha1.IngressVisibility
	secure     bool // the listener terminates TLS
}

// ServeHTTP finds the route of a request and hands it to the proxy.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.g.inflight.Add(1) > maxRequests {
		f.g.inflight.Add(-1)
		refuse(w, http.StatusServiceUnavailable, "the gateway already serves %d requests, try again later", maxRequests)
		return
	}
	defer f.g.inflight.Add(-1)

	t := f.table(r)
	if t == nil {
		refuse(w, http.StatusServiceUnavailable, "the gateway has not read its routes yet, try again")
		return
	}
	host := hostname(r.Host)
	vh := t.lookup(f.visibility, host)
	switch {
	case vh == nil:
		refuse(w, http.StatusNotFound, "no route for host %q on this gateway", host)
	case f.secure && r.TLS != nil && hostname(r.TLS.ServerName) != host:
		// The certificate of one host must not vouch for another.
		refuse(w, http.StatusMisdirectedRequest, "this connection is for host %q, not for %q", r.TLS.ServerName, host)
	case r.Header.Get(header.ProbeKey) == header.ProbeValue && r.Header.Get(header.HashKey) == header.HashValueOverride:
		answerProbe(w, vh.program)
	case vh.program.redirect && !f.secure && f.visibility != v1alpha1.IngressVisibilityClusterLocal:
		redirect(w, r, host)
	default:
		f.proxy(w, r, vh)
	}
}

func (f *front) proxy(w http.ResponseWriter, r *http.Request, vh *virtualHost) {
	rt := vh.match(r)
	if rt == nil {
		refuse(w, http.StatusNotFound, "no route for path %q of host %q", r.URL.Path, hostname(r.Host))
		return
	}
	if r.Method == http.MethodConnect {
		refuse(w, http.StatusMethodNotAllowed, "CONNECT is not served here")
		return
	}
	x := &exchange{Context: r.Context(), in: r, visibility: f.visibility, secure: f.secure, route: rt, split: rt.choose()}
	x.backend = x.split.backend
	if x.hops = hopsOf(r.Header[hopsHeader]); x.hops >= maxHops {
		refuse(w, http.StatusLoopDetected,
			"Service %s leads back to this gateway again and again, correct its external name", x.backend.key.name())
		return
	}
	defer x.release()
	out := r.WithContext(x)
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// Without this net/http would read the rest of the body before it
		// sends the response, and a stream in both directions would hang.
		_ = http.NewResponseController(w).EnableFullDuplex()
		body := &clientBody{ReadCloser: r.Body}
		out.Body = body
		defer body.leave(r)
	}
	f.g.proxy.ServeHTTP(w, out)
}

// table waits for the first table while the gateway starts.
func (f *front) table(r *http.Request) *table {
	if t := f.g.table.Load(); t != nil {
		return t
	}
	timer := time.NewTimer(startWindow)
	defer timer.Stop()
	select {
	case <-f.g.started:
	case <-timer.C:
	case <-r.Context().Done():
	}
	return f.g.table.Load()
}

// answerProbe tells the prober which version of an Ingress this listener serves,
// as soon as a request would find an endpoint behind every split. The gateway
// answers by itself, so readiness needs no running pod.
func answerProbe(w http.ResponseWriter, p *program) {
	for _, b := range p.backends {
		if reason := b.unavailable(); reason != "" {
			refuse(w, http.StatusServiceUnavailable, "%s", reason)
			return
		}
	}
	w.Header().Set(header.HashKey, p.hash)
	w.WriteHeader(http.StatusOK)
}

// redirect sends a client to HTTPS. Only GET and HEAD may change to GET, which
// 301 allows; 308 keeps any other method and its body.
func redirect(w http.ResponseWriter, r *http.Request, host string) {
	code := http.StatusPermanentRedirect
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		code = http.StatusMovedPermanently
	}
	target := *r.URL
	target.Scheme, target.Host, target.User = "https", host, nil
	if !strings.HasPrefix(target.Path, "/") {
		target.Path, target.RawPath = "/", "" // OPTIONS *
	}
	w.Header().Set("Location", target.String())
	w.WriteHeader(code)
}

// refuse answers with a line of text.
func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	fmt.Fprintf(w, "knit gateway: "+format+"\n", args...)
}
