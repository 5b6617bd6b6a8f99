// Package scheduler decides when something is due, and what becomes of it.
//
// It is pure: a Schedule's spec and status and the present time go in; the
// status that follows comes out. It holds no timers and no state, so the same
// question has the same answer after a restart, on another replica, and whatever
// the clock did meanwhile. The controller below it acts; the commands ask it
// what comes next.
package scheduler
