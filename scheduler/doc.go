// Package scheduler decides when something is due.
//
// It is pure: cron lines, a zone, the time up to which everything was settled
// and the present time go in; what to do now comes out. It holds no timers and
// no state, so the same question has the same answer after a restart, on another
// replica, and whatever the clock did meanwhile. The controller below it acts;
// the commands ask it what comes next.
package scheduler
