//go:build go1.24

package shim

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// telemetry makes a span and metrics of every request and gives them to an
// OpenTelemetry collector. Nil, as it is unless the environment names a
// collector, does nothing at all.
//
// It is no more than the runtime needs, because the official packages cannot be
// had here: the user's go.mod decides about modules.
type telemetry struct {
	sampler sampler
	spans   *spanQueue // nil: no traces are wanted
	metrics *metrics   // nil: none are wanted
	export  *exporter
	warm    atomic.Bool
}

// newTelemetry returns nil when nobody collects. What is wrong in the settings
// is logged and left out: a function serves without telemetry, too.
func newTelemetry(lookup func(string) (string, bool), log *slog.Logger) *telemetry {
	settings, notes := readTelemetrySettings(lookup)
	for _, note := range notes {
		log.Warn("telemetry setting", "error", note)
	}
	if settings.tracesURL == "" && settings.metricsURL == "" {
		return nil
	}
	t := &telemetry{sampler: settings.sampler}
	if settings.tracesURL != "" {
		t.spans = newSpanQueue(settings.queue)
	}
	if settings.metricsURL != "" {
		t.metrics = newMetrics()
	}
	t.export = startExporter(settings, t.spans, t.metrics, log)
	return t
}

// shutdown gives away what is left, as far as that goes before ctx ends.
func (t *telemetry) shutdown(ctx context.Context) {
	if t != nil {
		t.export.shutdown(ctx)
	}
}

// observation is one request under way.
type observation struct {
	telemetry *telemetry
	request   *http.Request
	span      span
	begun     time.Time
}

// begin continues the caller's trace, or begins one, and puts the span's own
// context into the request, so that the function hands it on.
func (t *telemetry) begin(r *http.Request) *observation {
	if t == nil {
		return nil
	}
	o := &observation{telemetry: t, request: r, begun: time.Now()}
	if t.metrics != nil {
		t.metrics.enter(methodOf(r))
	}
	if t.spans == nil {
		return o
	}
	// An event may bring its trace along as an extension, where who sends it has
	// none of its own.
	prefix := ""
	if r.Header.Get("Traceparent") == "" {
		prefix = "Ce-"
	}
	o.span = t.newSpan(parseTraceparent(r.Header.Get(prefix+"Traceparent")), r.Header.Get(prefix+"Tracestate"))
	o.span.putInto(r.Header)
	return o
}

// putInto makes the span the parent of what the function calls.
func (s *span) putInto(header http.Header) {
	header.Set("Traceparent", s.traceparent())
	header.Del("Tracestate")
	if s.state != "" {
		header.Set("Tracestate", s.state)
	}
}

func (t *telemetry) newSpan(parent spanContext, state string) span {
	s := span{spanContext: spanContext{traceID: parent.traceID}, parentID: parent.id}
	if parent.valid() && len(state) <= mostState {
		s.state = state // of a trace that nobody knows it says nothing
	}
	if !parent.valid() {
		_, _ = rand.Read(s.traceID[:]) // never fails: crypto/rand ends the program rather
	}
	_, _ = rand.Read(s.id[:])
	s.sampled = t.sampler.sample(parent, s.traceID)
	return s
}

// event names the event that the request holds.
func (o *observation) event(id, source, kind, subject string) {
	o.span.name = "process " + kind[:min(len(kind), mostText)]
	o.span.set("cloudevents.event_id", id)
	o.span.set("cloudevents.event_source", source)
	o.span.set("cloudevents.event_type", kind)
	o.span.set("cloudevents.event_spec_version", "1.0")
	if subject != "" {
		o.span.set("cloudevents.event_subject", subject)
	}
}

// end takes the answer; failure is what broke it off, if anything did.
func (o *observation) end(status int, failure string) {
	if o == nil {
		return
	}
	now, method := time.Now(), methodOf(o.request)
	if failure == "" && status >= http.StatusInternalServerError {
		failure = strconv.Itoa(status)
	}
	protocol := protocolOf(o.request)
	if m := o.telemetry.metrics; m != nil {
		m.leave(method)
		m.observe(series{method, protocol, status, failure}, now.Sub(o.begun))
	}
	cold := !o.telemetry.warm.Swap(true)
	if !o.span.sampled {
		return
	}
	s := &o.span
	trigger := "pubsub"
	if s.name == "" {
		s.name, trigger = method, "http"
		if method == otherMethod {
			s.name = "HTTP"
			s.set("http.request.method_original", o.request.Method)
		}
	}
	s.kind, s.begun, s.ended, s.failure = kindServer, o.begun, now, failure
	s.set("http.request.method", method)
	s.set("url.scheme", "http")
	s.set("url.path", o.request.URL.Path) // no query, which may hold secrets
	s.set("network.protocol.version", protocol)
	s.set("http.response.status_code", status)
	s.set("faas.trigger", trigger)
	s.set("faas.coldstart", cold)
	s.setServer(o.request.Host)
	if agent := o.request.UserAgent(); agent != "" {
		s.set("user_agent.original", agent)
	}
	o.telemetry.spans.add(*s)
}

// job makes a span of a job's one call; the environment may hold its parent.
func (t *telemetry) job(r *http.Request, parent, state string) *observation {
	if t == nil || t.spans == nil {
		return nil
	}
	o := &observation{telemetry: t, request: r, begun: time.Now()}
	o.span = t.newSpan(parseTraceparent(parent), state)
	o.span.putInto(r.Header)
	return o
}

func (o *observation) endJob(err error) {
	if o == nil || !o.span.sampled {
		return
	}
	s := &o.span
	if s.name == "" {
		s.name = "job"
	}
	s.kind, s.begun, s.ended = kindServer, o.begun, time.Now()
	s.set("faas.trigger", "other")
	if err != nil {
		s.failure = fmt.Sprintf("%T", err)
	}
	o.telemetry.spans.add(*s)
}

const otherMethod = "_OTHER"

// methodOf keeps the number of time series bounded, as the HTTP conventions ask.
func methodOf(r *http.Request) string {
	known := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT"}
	if slices.Contains(known, r.Method) {
		return r.Method
	}
	return otherMethod
}

func protocolOf(r *http.Request) string {
	if r.ProtoMajor >= 2 {
		return strconv.Itoa(r.ProtoMajor)
	}
	return fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)
}

func (s *span) setServer(host string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, ""
	}
	if name != "" {
		s.set("server.address", name)
	}
	if number, err := strconv.Atoi(port); err == nil {
		s.set("server.port", number)
	}
}
