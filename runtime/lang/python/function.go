// Package python knows how a Python function looks: it finds the function in
// its source without running Python (Detect), and holds the runtime that is
// laid beside it in the image (Runtime) and the projects to begin with
// (Templates). The Python buildpack and the CLI call it. It never changes the
// user's folder.
package python

import "fmt"

// Name is how a Function's spec.language and the builder call this language.
const Name = "python"

// Kind is what a function takes.
type Kind string

// The kinds of functions.
const (
	HTTP       Kind = "http"
	CloudEvent Kind = "cloudevent"
)

// Position is a place in a source file.
type Position struct {
	File string // slash-separated, relative to the function's folder
	Line int    // from 1; 0 when only the file is known
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Function is what the source says about the user's function.
type Function struct {
	Module string   // as Python imports it with the function's folder on its path, e.g. "function.func"
	Entry  string   // the name in the module: new, handle or main
	Kind   Kind     // what the function takes
	Pos    Position // of the entry
}

// accepted lists the forms of functions for error messages and documentation.
const accepted = `  async def handle(scope, receive, send)   ASGI; a CloudEvent is scope["event"]
  def handle(event)                        or async; a CloudEvent in, a CloudEvent or None out
  def handle(request)                      or async; text, bytes, dict or (body, status, headers) out
  def new()                                returns an object with one of these as its method handle`
