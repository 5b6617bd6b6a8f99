// Package graph says who sends events to whom: it builds one model from the
// objects of a namespace, finds the loops in it, and writes it as text, JSON,
// DOT or Mermaid. `knit graph` lists the objects and calls it.
//
// Everything in it is pure. It never asks a cluster, and it knows only what
// objects say: events that a program sends by itself, to an address that no
// object names, are not in the graph. What comes from objects may have been
// written by anybody, so every renderer escapes it.
package graph
