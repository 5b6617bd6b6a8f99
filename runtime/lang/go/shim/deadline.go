//go:build go1.24

package shim

import (
	"context"
	"sync"
	"time"
)

// deadline is the context of a request. It starts a timer only when somebody
// waits for the deadline, which most functions never do.
type deadline struct {
	context.Context // of the server, which has no deadline
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // nil until somebody waits
	cancel context.CancelFunc
	ended  bool
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadline) Done() <-chan struct{} { return d.withTimer().Done() }

func (d *deadline) Err() error {
	if timed := d.started(); timed != nil {
		return timed.Err()
	}
	if err := d.Context.Err(); err != nil || time.Now().Before(d.at) {
		return err
	}
	return d.withTimer().Err()
}

// Value asks the context with the timer, so that contexts made from this one
// find it there and need no goroutine to watch it.
func (d *deadline) Value(key any) any {
	if timed := d.started(); timed != nil {
		return timed.Value(key)
	}
	return d.Context.Value(key)
}

func (d *deadline) started() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timed
}

func (d *deadline) withTimer() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
	}
	if d.ended {
		d.cancel()
	}
	return d.timed
}

// end releases the timer. The server ends its own context at the same time.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}
