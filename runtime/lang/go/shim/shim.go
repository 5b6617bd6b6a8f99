//go:build go1.24

// Package shim is the process around a Go function: it serves HTTP on PORT,
// answers the health checks, bounds every request, turns a panic into a 500
// and drains on SIGTERM. Its sources are embedded by runtime/lang/go and
// compiled into every function image, so it imports the standard library only
// and knows nothing of Kubernetes. What it promises is written in
// runtime/CONTRACT.md.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of a function's process.
const (
	exitOK     = 0
	exitFailed = 1  // could not listen, or requests were cut off while stopping
	exitUsage  = 64 // a setting in the environment is wrong
)

// HTTP makes a handler of the user's plain HTTP function.
func HTTP(handle func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(handle)
}

// HTTPContext makes a handler of an HTTP function that also takes the request's context.
func HTTPContext(handle func(context.Context, http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(r.Context(), w, r) })
}

// Main serves the handler until SIGTERM or SIGINT and returns the exit code of
// the process. It reads the environment described in runtime/CONTRACT.md.
func Main(handler http.Handler) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return run(ctx, handler, os.LookupEnv, os.Stdout)
}

func run(ctx context.Context, handler http.Handler, lookup func(string) (string, bool), out io.Writer) int {
	settings, err := readSettings(lookup)
	log := newLogger(out, settings.LogLevel)
	if err != nil {
		log.Error("function not started", "error", err.Error())
		return exitUsage
	}
	// What the function prints through log or slog joins the structured log.
	slog.SetDefault(log)

	listener, err := net.Listen("tcp", settings.address())
	if err != nil {
		log.Error("function not started", "error", fmt.Sprintf("listen on %s: %v; set PORT to a free port", settings.address(), err))
		return exitFailed
	}
	if err := newServer(settings, handler, log).serve(ctx, listener); err != nil {
		log.Error("function stopped early", "error", err.Error())
		return exitFailed
	}
	return exitOK
}

// serve answers requests until ctx ends, then drains. The order is the one
// Knative expects: readiness fails first and requests are still answered, so
// that whoever routed one here before it learnt of the end does not lose it;
// only then the listener closes and what is under way finishes.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(listener) }()
	s.log.Info("function ready", "address", listener.Addr().String())

	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("function draining", "delay", s.settings.DrainDelay.String(), "inFlight", s.inFlight.Load())
	wait(s.settings.DrainDelay)

	end, cancel := context.WithTimeout(context.Background(), s.settings.Timeout)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		left := s.inFlight.Load()
		return errors.Join(fmt.Errorf("%d requests still under way after %s: %w", left, s.settings.Timeout, err), s.http.Close())
	}
	s.log.Info("function stopped")
	return nil
}
