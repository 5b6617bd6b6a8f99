// Package progress runs the visible list of steps by which a cluster is made
// and removed: each step is one line with its time, and when a step fails or
// the user interrupts, the steps done so far are undone in reverse order.
package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Step is one visible action. Undo, which may be nil, runs when this or a later step
// fails; it must bear that Do got only half way.
type Step struct {
	Name string
	Do   func(ctx context.Context, note func(format string, args ...any)) error
	Undo func(ctx context.Context) error
}

// undoTimeout bounds the clean-up after a failure.
const undoTimeout = 60 * time.Second

// Printer writes progress: a line that changes on a terminal, plain lines elsewhere.
type Printer struct {
	out      io.Writer
	terminal bool
	mu       sync.Mutex
	name     string
	note     string
	begin    time.Time
}

// NewPrinter writes to f.
func NewPrinter(f *os.File) *Printer {
	return &Printer{out: f, terminal: term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"}
}

// Run does the steps in order.
func (p *Printer) Run(ctx context.Context, steps []Step) error {
	for n, s := range steps {
		err := p.step(ctx, s)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted during %q: %w", s.Name, err)
		} else {
			err = fmt.Errorf("%s: %w", s.Name, err)
		}
		return errors.Join(err, p.undo(steps[:n+1]))
	}
	return nil
}

func (p *Printer) step(ctx context.Context, s Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := p.start(s.Name)
	err := s.Do(ctx, p.setNote)
	stop(err)
	return err
}

func (p *Printer) undo(steps []Step) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	var errs []error
	for n := len(steps) - 1; n >= 0; n-- {
		if steps[n].Undo == nil {
			continue
		}
		if err := steps[n].Undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("clean up after %q: %w", steps[n].Name, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Printer) setNote(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note := fmt.Sprintf(format, args...)
	if note == p.note {
		return
	}
	p.note = note
	if !p.terminal {
		fmt.Fprintf(p.out, "      %s (%s)\n", note, since(p.begin))
	}
}

// start prints the running step and returns what ends it.
func (p *Printer) start(name string) func(error) {
	p.mu.Lock()
	p.name, p.note, p.begin = name, "", time.Now()
	p.mu.Unlock()
	done, drawn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drawn)
		if p.terminal {
			p.animate(done)
		}
	}()
	return func(err error) {
		close(done)
		<-drawn
		mark := "ok  "
		if err != nil {
			mark = "FAIL"
		}
		if p.terminal {
			color := "\x1b[32m"
			if err != nil {
				color = "\x1b[31m"
			}
			mark = "\r\x1b[K" + color + mark + "\x1b[0m"
		}
		fmt.Fprintf(p.out, "%s  %s (%s)\n", mark, name, since(p.begin))
	}
}

func (p *Printer) animate(done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		fmt.Fprintf(p.out, "\r\x1b[K...   %s (%s) %s", p.name, since(p.begin), p.note)
		p.mu.Unlock()
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

func since(t time.Time) string {
	return fmt.Sprintf("%.1fs", time.Since(t).Seconds())
}
