package cmdline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var functions = schema.GroupResource{Group: "knit.dev", Resource: "functions"}

func TestExitCodeAndNextStep(t *testing.T) {
	cases := map[string]struct {
		err  error
		code int
		next string
	}{
		"done":               {nil, ExitOK, ""},
		"anything":           {errors.New("x"), ExitFailure, ""},
		"usage":              {fmt.Errorf("more: %w", Usagef("x")), ExitUsage, ""},
		"absent object":      {fmt.Errorf("read: %w", apierrors.NewNotFound(functions, "a")), ExitNotFound, ""},
		"absent kind":        {apierrors.NewGenericServerResponse(404, "get", functions, "", "", 0, true), ExitFailure, "knit install"},
		"late":               {fmt.Errorf("wait: %w", context.DeadlineExceeded), ExitTimeout, ""},
		"interrupted":        {fmt.Errorf("wait: %w", context.Canceled), ExitInterrupted, ""},
		"stranger":           {apierrors.NewUnauthorized("x"), ExitFailure, "log in again"},
		"not allowed":        {apierrors.NewForbidden(functions, "a", errors.New("x")), ExitFailure, "knit-edit"},
		"no connection":      {&net.OpError{Op: "dial", Err: errors.New("refused")}, ExitFailure, "check that the cluster runs"},
		"advice comes first": {Advise(apierrors.NewUnauthorized("x"), "do %s", "this"), ExitFailure, "do this"},
		"a difference":       {BesidesDifference(Different()), ExitFailure, ""},
		"no difference":      {BesidesDifference(nil), ExitOK, ""},
		"trouble comparing":  {BesidesDifference(errors.New("x")), ExitTrouble, ""},
		"usage of comparing": {BesidesDifference(Usagef("x")), ExitUsage, ""},
		"another program's":  {Exit(errors.New("x"), 7), 7, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Code(c.err); got != c.code {
				t.Errorf("code = %d, want %d", got, c.code)
			}
			if c.err == nil {
				return
			}
			got := nextStep(c.err)
			if c.next == "" && got != "" || !strings.Contains(got, c.next) {
				t.Errorf("next step = %q, want %q in it", got, c.next)
			}
		})
	}
}

func TestProgressWritesPlainLinesWithTimes(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	env := &Env{Err: &out, Now: func() time.Time { return now }}
	p := NewProgress(env)
	p.Doing("never shown where there is no terminal")
	now = now.Add(1500 * time.Millisecond)
	p.Done("Packed", "%d files", 3)
	p.Took("  fetch", 250*time.Millisecond, "")
	now = now.Add(time.Second)
	p.Failed("Built", "x")
	want := "  Packed          1.50s  3 files\n    fetch         0.25s\n  Built           1.00s  x\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if p.Elapsed() != 2500*time.Millisecond {
		t.Errorf("elapsed = %s", p.Elapsed())
	}
}

func TestEventDataIsBounded(t *testing.T) {
	flags := EventFlags{Type: "x"}
	if _, err := flags.Event(strings.NewReader(strings.Repeat("a", MaxEvent)), time.Now()); err != nil {
		t.Errorf("%d bytes: %v, want them taken", MaxEvent, err)
	}
	_, err := flags.Event(strings.NewReader(strings.Repeat("a", MaxEvent+1)), time.Now())
	if Code(err) != ExitUsage {
		t.Errorf("%d bytes: %v, want a usage error", MaxEvent+1, err)
	}
}
