package progress

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunUndoesWhatWasDone(t *testing.T) {
	boom := errors.New("boom")
	cases := map[string]struct {
		reason    string
		fail      string // step that fails
		interrupt string // step that is interrupted by the user
		want      []string
	}{
		"all well":           {reason: "nothing is undone when all steps succeed", want: []string{"do a", "do b", "do c"}},
		"failure":            {reason: "the failed step and those before are undone, last first", fail: "b", want: []string{"do a", "do b", "undo b", "undo a"}},
		"first step":         {reason: "a failed first step is undone, too", fail: "a", want: []string{"do a", "undo a"}},
		"interrupt at start": {reason: "no later step begins after an interrupt", interrupt: "a", want: []string{"do a", "undo b", "undo a"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var got []string
			var steps []Step
			for _, s := range []string{"a", "b", "c"} {
				steps = append(steps, Step{
					Name: s,
					Do: func(context.Context, func(string, ...any)) error {
						got = append(got, "do "+s)
						if s == c.interrupt {
							cancel()
						}
						if s == c.fail {
							return boom
						}
						return nil
					},
					Undo: func(ctx context.Context) error {
						got = append(got, "undo "+s)
						return ctx.Err() // an interrupt must not reach the clean-up
					},
				})
			}
			var out bytes.Buffer
			err := (&Printer{out: &out}).Run(ctx, steps)
			if (err != nil) != (c.fail != "" || c.interrupt != "") {
				t.Errorf("%s: error is %v", c.reason, err)
			}
			if c.interrupt != "" && !strings.Contains(err.Error(), "interrupted") {
				t.Errorf("%s: error %q does not say so", c.reason, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestPlainOutputHasALineAStepAndNoEscapes(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{out: &out}
	err := p.Run(t.Context(), []Step{{Name: "Build", Do: func(_ context.Context, note func(string, ...any)) error {
		note("half of %d", 2)
		note("half of %d", 2) // the same again is no news
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "half of 2"); got != 1 {
		t.Errorf("the note was printed %d times, want once", got)
	}
	if strings.ContainsAny(out.String(), "\x1b\r") {
		t.Errorf("plain output has control characters: %q", out.String())
	}
	if !strings.Contains(out.String(), "ok    Build (") {
		t.Errorf("the step's line is missing: %q", out.String())
	}
}
