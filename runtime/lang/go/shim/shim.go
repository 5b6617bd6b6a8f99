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
	exitOK      = 0
	exitFailed  = 1  // could not listen, requests were cut off while stopping, or a job failed
	exitUsage   = 64 // a setting in the environment is wrong
	exitRefused = 65 // the function refused the job: another try would not help
)

// Function is what the generated main hands over.
type Function struct {
	Handler http.Handler
	// Events says that the handler takes CloudEvents only.
	Events bool
	// Instance is what the user's New returned; nil when there is none.
	Instance any
}

// HTTP makes a handler of the user's plain HTTP function.
func HTTP(handle func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(handle)
}

// HTTPContext makes a handler of an HTTP function that also takes the request's context.
func HTTPContext(handle func(context.Context, http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(r.Context(), w, r) })
}

// Main serves the function until SIGTERM or SIGINT, or runs it once as a job,
// and returns the exit code of the process. It reads the environment described
// in runtime/CONTRACT.md.
func Main(f Function) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return run(ctx, f, os.LookupEnv, os.Stdout)
}

func run(ctx context.Context, f Function, lookup func(string) (string, bool), out io.Writer) int {
	settings, err := readSettings(lookup)
	log := newLogger(out, settings.LogLevel)
	if err != nil {
		log.Error("function not started", "error", err.Error())
		return exitUsage
	}
	// What the function prints through log or slog joins the structured log.
	slog.SetDefault(log)

	srv := newServer(settings, f, log)
	srv.observer = newTelemetry(lookup, log)
	if settings.Mode == modeJob {
		return srv.serveJob(ctx)
	}
	if err := srv.start(ctx); err != nil {
		log.Error("function not started", "error", err.Error())
		return exitFailed
	}
	listener, err := net.Listen("tcp", settings.address())
	if err != nil {
		log.Error("function not started", "error", fmt.Sprintf("listen on %s: %v; set PORT to a free port", settings.address(), err))
		return exitFailed
	}
	if err := srv.serve(ctx, listener); err != nil {
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
	defer s.observer.shutdown(end)
	if err := s.http.Shutdown(end); err != nil {
		left := s.inFlight.Load()
		return errors.Join(fmt.Errorf("%d requests still under way after %s: %w", left, s.settings.Timeout, err), s.http.Close())
	}
	if err := s.stop(end); err != nil {
		return err
	}
	s.log.Info("function stopped")
	return nil
}
