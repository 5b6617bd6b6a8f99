package cmdline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settle is how long a watched table waits after a change for those that come
// with it.
const settle = 200 * time.Millisecond

// AddWatch declares --watch on a command that shows a table.
func AddWatch(cmd *cobra.Command, wanted *bool) {
	cmd.Flags().BoolVarP(wanted, "watch", "w", false, "show the table again whenever something changes, until interrupted")
}

// Watch shows a table, and again whenever one of the listed objects changes,
// until the command is interrupted, which is its end and no failure. Draw writes
// to the Out of the environment that it is given.
func Watch(ctx context.Context, env *Env, c *Cluster, format Format, list client.ObjectList, draw func(*Env) error, options ...client.ListOption) error {
	if format != Text && format != Wide {
		return Usagef("--watch shows tables; leave --output %s out", format)
	}
	table := &watched{env: env, draw: draw}
	for {
		changes, err := c.Watch(ctx, list, options...)
		if err == nil {
			err = table.follow(ctx, changes)
			changes.Stop()
		}
		if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch for changes: %w", err)
		}
	}
}

// watched is a table on its way through changes.
type watched struct {
	env   *Env
	draw  func(*Env) error
	shown []byte
}

// follow returns when the server ends the watch, which it does now and then.
func (t *watched) follow(ctx context.Context, changes watch.Interface) error {
	if err := t.show(); err != nil {
		return err
	}
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case change, open := <-changes.ResultChan():
			if !open {
				return nil
			}
			if change.Type == watch.Error {
				return apierrors.FromObject(change.Object)
			}
			if settled == nil {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			if err := t.show(); err != nil {
				return err
			}
		}
	}
}

// show writes the table unless it is the same as before: on a terminal in place
// of the one before, elsewhere after it.
func (t *watched) show() error {
	var out bytes.Buffer
	env := *t.env
	env.Out = &out
	if err := t.draw(&env); err != nil {
		return err
	}
	if t.shown != nil && bytes.Equal(t.shown, out.Bytes()) {
		return nil
	}
	switch {
	case Terminal(t.env.Out):
		fmt.Fprint(t.env.Out, "\x1b[H\x1b[2J")
	case t.shown != nil:
		fmt.Fprintln(t.env.Out)
	}
	t.shown = append([]byte{}, out.Bytes()...)
	_, err := t.env.Out.Write(t.shown)
	return err
}
