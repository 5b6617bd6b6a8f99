// Package function is the instance that the conformance suite drives. The other
// languages' fixtures behave alike.
package function

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// Function prints the name of each method that is called.
type Function struct{}

// New makes the instance.
func New() *Function { return &Function{} }

// Start sees the environment.
func (f *Function) Start(_ context.Context, env map[string]string) error {
	fmt.Println("start", env["FIXTURE_WORD"])
	if env["FIXTURE_START"] == "fail" {
		return errors.New("no database")
	}
	return nil
}

// Handle answers every request alike.
func (f *Function) Handle(w http.ResponseWriter, _ *http.Request) {
	fmt.Println("handle")
	_, _ = fmt.Fprint(w, "handled")
}

// Stop comes last.
func (f *Function) Stop(context.Context) error {
	fmt.Println("stop")
	return nil
}

// Ready and Alive say what the environment says.
func (f *Function) Ready(context.Context) (bool, error) {
	return os.Getenv("FIXTURE_READY") != "no", nil
}

// Alive fails by an error, the other way to say no.
func (f *Function) Alive(context.Context) (bool, error) {
	if os.Getenv("FIXTURE_ALIVE") == "no" {
		return true, errors.New("no pulse")
	}
	return true, nil
}
