package cmdline

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress writes the steps of a long command with the time each took. On a
// terminal the step under way is shown and replaced when it ends; elsewhere
// there is one plain line for each finished step.
type Progress struct {
	mu     sync.Mutex
	out    io.Writer
	now    func() time.Time
	live   bool
	colour bool
	began  time.Time
	step   time.Time
	shown  bool // a line of a step under way stands on the terminal
}

// NewProgress starts the clock of the first step.
func NewProgress(env *Env) *Progress {
	now := env.Now()
	return &Progress{out: env.Err, now: env.Now, live: Terminal(env.Err), colour: Colour(env.Err), began: now, step: now}
}

// Doing shows on a terminal what is under way. It may be called often.
func (p *Progress) Doing(format string, args ...any) {
	if !p.live {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	fmt.Fprintf(p.out, "  %s %s", fmt.Sprintf(format, args...), p.paint("2", seconds(p.now().Sub(p.step))))
	p.shown = true
}

// Done ends the step under way with its name, a remark and its time.
func (p *Progress) Done(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.line("32", name, now.Sub(p.step), fmt.Sprintf(format, args...))
	p.step = now
}

// Took ends a step whose time was measured elsewhere, such as a build phase
// whose times stand in its status.
func (p *Progress) Took(name string, took time.Duration, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line("32", name, took, fmt.Sprintf(format, args...))
	p.step = p.now()
}

// Failed ends the step under way as failed.
func (p *Progress) Failed(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line("31", name, p.now().Sub(p.step), fmt.Sprintf(format, args...))
}

// Clear removes the line of the step under way from a terminal, before other
// output is written.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

// Elapsed is the time since the first step began.
func (p *Progress) Elapsed() time.Duration { return p.now().Sub(p.began) }

func (p *Progress) line(colour, name string, took time.Duration, remark string) {
	p.wipe()
	text := fmt.Sprintf("  %s %8s  %s", p.paint(colour, fmt.Sprintf("%-12s", name)), seconds(took), remark)
	fmt.Fprintln(p.out, strings.TrimRight(text, " "))
}

func (p *Progress) wipe() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

func (p *Progress) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// seconds writes a duration with two digits after the point.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// Bytes writes a size with a decimal unit.
func Bytes(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
