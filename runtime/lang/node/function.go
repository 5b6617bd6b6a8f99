// Package node knows how a function for Node.js looks, in JavaScript or
// TypeScript: it finds the function's file without running it (Detect), brings
// the process that serves it (Runtime, Arguments) and the projects that new
// functions start from (Templates). The Node buildpack and the CLI call it. It
// never runs Node or npm and never changes the user's folder.
package node

// Name is how a Function's spec.language and the builder call this language.
const Name = "node"

// Kind is what a function takes.
type Kind string

// The kinds of functions. In JavaScript both look the same: `handle(context,
// body)` and `handle(context, event)`. A function takes both unless its
// package.json says which one it is, as {"knit": {"kind": "cloudevent"}}.
const (
	HTTP       Kind = "http"
	CloudEvent Kind = "cloudevent"
	Any        Kind = "any"
)

// Function is what the source says about the user's function.
type Function struct {
	// Entry is the file that exports the function, slash-separated and relative
	// to the folder. It may not be there before the project is built.
	Entry string
	// EntryFrom says why it is Entry: `"main" in package.json`, for instance.
	EntryFrom string
	Kind      Kind
	// Manifest is the package.json; nil when there is none.
	Manifest *Manifest
}

// Builds tells whether the project is to be built by its own script.
func (f Function) Builds() bool { return f.Manifest != nil && f.Manifest.Scripts["build"] != "" }

// TypeScript tells whether Node has to strip types from the entry.
func (f Function) TypeScript() bool {
	switch extension(f.Entry) {
	case ".ts", ".mts", ".cts":
		return true
	}
	return false
}
