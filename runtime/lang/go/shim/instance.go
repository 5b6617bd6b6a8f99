//go:build go1.24

package shim

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// What a function's New returns may have these methods beside Handle; the
// names and signatures are those of Knative's func.
type (
	starter interface {
		Start(context.Context, map[string]string) error
	}
	stopper interface {
		Stop(context.Context) error
	}
	reporterOfReadiness interface {
		Ready(context.Context) (bool, error)
	}
	reporterOfLiveness interface {
		Alive(context.Context) (bool, error)
	}
)

// start tells the instance the environment, before anything is served.
func (s *server) start(ctx context.Context) error {
	instance, ok := s.instance.(starter)
	if !ok {
		return nil
	}
	if err := instance.Start(ctx, environment()); err != nil {
		return fmt.Errorf("the function's Start: %w", err)
	}
	return nil
}

// stop lets the instance put away what it holds, after the last request.
func (s *server) stop(ctx context.Context) error {
	instance, ok := s.instance.(stopper)
	if !ok {
		return nil
	}
	if err := instance.Stop(ctx); err != nil {
		return fmt.Errorf("the function's Stop: %w", err)
	}
	return nil
}

// ready needs no more than a listening process before draining, unless the
// instance has a say: Go has loaded the user's package, its init functions
// included, before main runs.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	if instance, ok := s.instance.(reporterOfReadiness); ok {
		report(w, r, "Ready", instance.Ready)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (s *server) alive(w http.ResponseWriter, r *http.Request) {
	if instance, ok := s.instance.(reporterOfLiveness); ok {
		report(w, r, "Alive", instance.Alive)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func report(w http.ResponseWriter, r *http.Request, method string, ask func(context.Context) (bool, error)) {
	switch good, err := ask(r.Context()); {
	case err != nil:
		http.Error(w, fmt.Sprintf("the function's %s: %v", method, err), http.StatusServiceUnavailable)
	case !good:
		http.Error(w, "the function's "+method+" says no", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

func environment() map[string]string {
	values := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	return values
}
