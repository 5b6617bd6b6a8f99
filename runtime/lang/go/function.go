// Package golang knows how a Go function looks: it finds the function in its
// source without compiling it (Detect) and writes the main program around it
// (Scaffold). The Go buildpack and the CLI call it. It never runs the Go tool
// and never changes the user's folder.
package golang

import (
	"go/token"
)

// Name is how a Function's spec.language and the builder call this language.
const Name = "go"

// Kind is what a function takes.
type Kind string

// The kinds of functions.
const (
	HTTP       Kind = "http"
	CloudEvent Kind = "cloudevent"
)

// Function is what the source says about the user's function.
type Function struct {
	Package string         // the name in the package clause
	Kind    Kind           // what the function takes
	Pos     token.Position // of the function, the file relative to the folder

	// Instanced means that Handle is a method of what the package's New returns.
	Instanced bool

	TakesContext bool // a leading context.Context
	ReturnsEvent bool // *event.Event, CloudEvent only
	ReturnsError bool // error, CloudEvent only

	ImportsSDK bool // Knit's SDK, in the folder itself
}

// accepted lists the signatures for error messages and documentation.
const accepted = `  func Handle(w http.ResponseWriter, r *http.Request)
  func Handle(ctx context.Context, w http.ResponseWriter, r *http.Request)
  func Handle(e event.Event)
  func Handle(ctx context.Context, e event.Event) (*event.Event, error)
where event is github.com/cloudevents/sdk-go/v2/event; ctx, *event.Event and error may each be left out;
or one of them as a method of the type T of a function: func New() *T`
