//go:build go1.24

package shim

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestDeadline(t *testing.T) {
	const soon = 5 * time.Millisecond
	type key struct{}
	cases := map[string]struct {
		reason string
		in     time.Duration
		use    func(d *deadline, cancel func()) error
		want   error
	}{
		"nobody waited": {
			reason: "before the deadline there is no error, and no timer either", in: time.Hour,
			use: func(d *deadline, _ func()) error {
				if d.Err() == nil && d.timed == nil && d.Value(key{}) == "kept" {
					return nil
				}
				return errors.New("a timer, or no value")
			},
		},
		"asked too late": {
			reason: "a function that only looks at Err learns of the deadline without a timer", in: -soon,
			use: func(d *deadline, _ func()) error { return d.Err() }, want: context.DeadlineExceeded,
		},
		"waited for": {
			reason: "Done closes at the deadline", in: soon,
			use: func(d *deadline, _ func()) error { <-d.Done(); return d.Err() }, want: context.DeadlineExceeded,
		},
		"through a child": {
			reason: "a context made from it ends with it", in: soon,
			use: func(d *deadline, _ func()) error {
				child, cancel := context.WithTimeout(d, time.Hour)
				defer cancel()
				<-child.Done()
				return child.Err()
			}, want: context.DeadlineExceeded,
		},
		"the caller is gone": {
			reason: "the server's context ends it before the deadline", in: time.Hour,
			use: func(d *deadline, cancel func()) error {
				done := d.Done()
				cancel()
				<-done
				return d.Err()
			}, want: context.Canceled,
		},
		"ended while somebody waits": {
			reason: "a goroutine that outlives the request is released", in: time.Hour,
			use: func(d *deadline, _ func()) error {
				done := d.Done()
				d.end()
				<-done
				return d.Err()
			}, want: context.Canceled,
		},
		"asked after the end": {
			reason: "a goroutine that asks late does not wait for the deadline", in: time.Hour,
			use: func(d *deadline, _ func()) error {
				d.end()
				<-d.Done()
				return d.Err()
			}, want: context.Canceled,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
			defer cancel()
			d := &deadline{Context: parent, at: time.Now().Add(c.in)}
			defer d.end()
			if err := c.use(d, cancel); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v: %s", err, c.want, c.reason)
			}
		})
	}
}
