package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxSendRate is the highest --rate, in events a second.
const maxSendRate = 10000

// lineFlags are those of many events.
type lineFlags struct {
	from      string
	rate      float64
	keepGoing bool
	changed   func(string) bool
}

func (l *lineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&l.from, "from-lines", "", "file with a CloudEvent in JSON in each line; - is standard input")
	flags.Float64Var(&l.rate, "rate", 0, "with --from-lines, events a second at most (default: as fast as they are taken)")
	flags.BoolVar(&l.keepGoing, "keep-going", false, "with --from-lines, go on after an event that cannot be sent")
	l.changed = flags.Changed
}

// check refuses flags that do not go together.
func (l *lineFlags) check() error {
	switch {
	case l.from == "" && (l.changed("rate") || l.keepGoing):
		return cmdline.Usagef("--rate and --keep-going are about the events of --from-lines, which is missing")
	case l.changed("rate") && !(l.rate > 0 && l.rate <= maxSendRate):
		return cmdline.Usagef("--rate %g is no number above 0 and up to %d", l.rate, maxSendRate)
	}
	return nil
}

// open opens the lines.
func (l *lineFlags) open(standard io.Reader) (io.Reader, func(), error) {
	if l.from == "-" {
		return standard, func() {}, nil
	}
	file, err := openEvents(l.from)
	return file, func() { _ = file.Close() }, err
}

// pace returns a channel that says when the next event may go; nil when any time
// is right.
func (l *lineFlags) pace() (<-chan time.Time, func()) {
	if l.rate == 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / l.rate))
	return ticker.C, ticker.Stop
}

// stream sends the events of lines, one after another, in their order.
type stream struct {
	sending  *sending
	sender   *sender
	progress *cmdline.Progress

	sent, failed int
	at           int // line being sent, or the last one
}

// many sends what is in --from-lines.
func (s *sending) many(ctx context.Context, to target) error {
	if s.event.Set() {
		return cmdline.Advise(cmdline.Usagef("--from-lines holds whole CloudEvents, to which flags add no attributes"),
			"leave out --type, --source, --subject, --id, --content-type and --extension")
	}
	in, done, err := s.lines.open(s.env.In)
	if err != nil {
		return err
	}
	defer done()
	sender, err := s.sender(to)
	if err != nil {
		return err
	}
	m := &stream{sending: s, sender: sender, progress: cmdline.NewProgress(s.env)}
	defer m.progress.Clear()
	err = m.run(ctx, in)
	m.progress.Clear()
	return m.report(err)
}

// run returns why it ended before the last line.
func (m *stream) run(ctx context.Context, in io.Reader) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	lines := readLines(reading, in)
	pace, stopPace := m.sending.lines.pace()
	defer stopPace()
	for begun := false; ; begun = true {
		var line textLine
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line = <-lines:
		}
		if errors.Is(line.err, io.EOF) {
			return nil
		}
		if begun && pace != nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-pace:
			}
		}
		m.at = line.number
		if err := m.take(ctx, line); err != nil {
			return err
		}
		m.progress.Doing("sent %d, failed %d", m.sent, m.failed)
	}
}

// take sends what a line holds, and returns an error when that was the last.
func (m *stream) take(ctx context.Context, line textLine) error {
	var out sent
	e, err := line.event()
	if err == nil {
		out = m.sender.send(ctx, e)
	} else {
		out = sent{To: m.sender.name, Result: resultFailed, Message: err.Error(), err: err}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	out.Line = line.number
	if err := m.print(out, e); err != nil {
		return err
	}
	if out.err == nil {
		m.sent++
		return nil
	}
	m.failed++
	m.progress.Clear()
	fmt.Fprintf(m.sending.env.Err, "line %d: %v\n", line.number, out.err)
	if !m.sending.lines.keepGoing || line.last() || hopeless(out.err) {
		return out.err
	}
	return nil
}

// event reads the event of a line.
func (l textLine) event() (*event, error) {
	switch {
	case errors.Is(l.err, errTooLarge):
		return nil, fmt.Errorf("the event %w", l.err)
	case l.err != nil:
		return nil, fmt.Errorf("read it: %w", l.err)
	}
	e, err := decode(l.text)
	if err != nil {
		return nil, fmt.Errorf("it holds %w", err)
	}
	return e, nil
}

// last tells that there are no lines after this one.
func (l textLine) last() bool { return l.err != nil && !errors.Is(l.err, errTooLarge) }

// hopeless errors are about the target or the caller: every other event gets them, too.
func hopeless(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || cmdline.Code(err) == cmdline.ExitNotFound
}

// print writes an event and what became of it: JSON in one line, YAML as a document
// of its own, so that nothing is held back.
func (m *stream) print(out sent, e *event) error {
	switch m.sending.format {
	case cmdline.JSON:
		raw, err := json.Marshal(out)
		if err == nil {
			_, err = fmt.Fprintf(m.sending.env.Out, "%s\n", raw)
		}
		return err
	case cmdline.YAML:
		fmt.Fprintln(m.sending.env.Out, "---")
		_, err := cmdline.PrintValue(m.sending.env.Out, cmdline.YAML, out)
		return err
	case cmdline.Name:
		if out.err == nil {
			fmt.Fprintln(m.sending.env.Out, cmdline.Plain(e.ID()))
		}
	}
	return nil
}

// report sums up, and says from where to go on when it ended early.
func (m *stream) report(early error) error {
	to := m.sending.env.Out
	if m.sending.format != cmdline.Text {
		to = m.sending.env.Err
	}
	fmt.Fprintf(to, "sent %d, failed %d to %s in %s\n", m.sent, m.failed, m.sender.name, m.progress.Elapsed().Round(10*time.Millisecond))
	switch {
	case errors.Is(early, context.Canceled):
		return cmdline.Advise(fmt.Errorf("interrupted at line %d of %s: %w", m.at, m.sending.lines.from, early), "the event of that line may have been sent; the lines after it were not")
	case early != nil && !m.sending.lines.keepGoing && !hopeless(early):
		return cmdline.Advise(fmt.Errorf("stopped at line %d of %s, which was not sent", m.at, m.sending.lines.from),
			"correct it and send from there (`tail -n +%d`), or add --keep-going", m.at)
	case early != nil:
		return fmt.Errorf("stopped at line %d of %s: %w", m.at, m.sending.lines.from, early)
	case m.failed > 0:
		return cmdline.Advise(fmt.Errorf("%d of %d events were not sent", m.failed, m.failed+m.sent), "the lines named above are as they were; correct and send them again")
	}
	return nil
}
