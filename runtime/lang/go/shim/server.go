//go:build go1.24

package shim

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Paths that the shim answers itself; the function never sees them.
const (
	livenessPath  = "/health/liveness"
	readinessPath = "/health/readiness"
)

// Bounds on what a peer may hold open without sending a request.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 120 * time.Second // longer than queue-proxy keeps an idle connection (90 s)
	maxHeaderBytes = 64 << 10

	// A peer that sends its body too slowly must not hold the function longer
	// than a request may take. The end of reading also ends the request's
	// context, as canceled; the context's own deadline comes first and says what
	// really happened.
	readGrace = time.Second
)

type server struct {
	settings settings
	handler  http.Handler
	events   bool // the handler takes CloudEvents only
	instance any  // of the user's New; nil when there is none
	log      *slog.Logger
	http     *http.Server

	draining atomic.Bool
	inFlight atomic.Int64
}

func newServer(s settings, f Function, log *slog.Logger) *server {
	srv := &server{settings: s, handler: f.Handler, events: f.Events, instance: f.Instance, log: log}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // Knative speaks h2c to ports named h2c
	srv.http = &http.Server{
		Handler:           http.HandlerFunc(srv.route),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout(s.Timeout),
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return srv
}

// route is a switch and no ServeMux, which would redirect a path such as
// "//a/../b" instead of giving it to the function unchanged.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case livenessPath:
		s.alive(w, r)
	case readinessPath:
		s.ready(w, r)
	default:
		s.invoke(w, r)
	}
}

// invoke runs the function for one request within its bounds.
func (s *server) invoke(w http.ResponseWriter, r *http.Request) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)

	begun := time.Now()
	answer := &recorder{ResponseWriter: w}
	timeout := s.timeoutOf(r)
	values := withTraceparent(withHeader(r.Context(), r.Header), r.Header.Get("Traceparent"))
	ctx := &deadline{Context: values, at: begun.Add(timeout)}
	defer ctx.end()
	r = r.WithContext(ctx)
	if timeout < s.settings.Timeout {
		// A deadline of this request's own also bounds the reading of its body. The
		// server lifts it for the connection's next request.
		if err := http.NewResponseController(w).SetReadDeadline(ctx.at.Add(readGrace)); err != nil {
			s.log.Warn("request has no read deadline", "error", err.Error())
		}
	}

	if s.draining.Load() {
		// The peer opens its next connection elsewhere; closing an idle one under it could lose a request.
		answer.Header().Set("Connection", "close")
	}
	defer s.logRequest(r, answer, begun)
	if limit := s.settings.BodyLimit; limit > 0 {
		if r.ContentLength > limit {
			http.Error(answer, fmt.Sprintf("request body of %d bytes is larger than the limit of %d; raise KNIT_MAX_BODY_BYTES", r.ContentLength, limit), http.StatusRequestEntityTooLarge)
			return
		}
		if r.ContentLength < 0 { // otherwise the server reads no more than was declared
			r.Body = http.MaxBytesReader(answer, r.Body, limit)
		}
	}
	defer s.recoverPanic(r, answer)
	s.handler.ServeHTTP(answer, r)
}

// readTimeout is how long a request may take to arrive.
func readTimeout(timeout time.Duration) time.Duration {
	return min(timeout, math.MaxInt64-readGrace) + readGrace
}

// recoverPanic answers 500. When part of an answer is already out the
// connection is cut instead, so that no peer takes the rest for the whole.
func (s *server) recoverPanic(r *http.Request, answer *recorder) {
	cause := recover()
	if cause == nil {
		return
	}
	if errors.Is(asError(cause), http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.logPanic(r, cause)
	if answer.status != 0 {
		panic(http.ErrAbortHandler)
	}
	clear(answer.Header())
	http.Error(answer, "the function panicked; its log has the stack", http.StatusInternalServerError)
}

func asError(cause any) error {
	err, _ := cause.(error)
	return err
}

func (s *server) logPanic(r *http.Request, cause any) {
	attributes := append(requestAttributes(r), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	s.log.Error("function panicked", attributes...)
}

func (s *server) logRequest(r *http.Request, answer *recorder, begun time.Time) {
	if !s.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	attributes := append(requestAttributes(r), "status", answer.final(), "duration", time.Since(begun).String())
	s.log.Debug("request", attributes...)
}

// requestAttributes names a request in the log; never its query or body, which may hold secrets.
func requestAttributes(r *http.Request) []any {
	attributes := []any{"method", r.Method, "path", r.URL.Path}
	for _, header := range []struct{ name, key string }{
		{"Ce-Id", "eventID"}, {"Ce-Type", "eventType"}, {"Ce-Source", "eventSource"}, {"Traceparent", "traceparent"},
	} {
		if value := r.Header.Get(header.name); value != "" {
			attributes = append(attributes, header.key, value)
		}
	}
	return attributes
}
