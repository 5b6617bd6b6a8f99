// Package reconcile is the kit of which every controller of Knit is made.
//
// A controller is a list of idempotent steps about one object. Run calls them,
// turns what they return into what the queue should do, and writes the status
// once. Children are written by Apply from pure functions that say the whole
// wanted object. Reconcilers call the package; it knows none of the kinds.
package reconcile
