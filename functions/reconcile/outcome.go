package reconcile

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// waiting is the outcome of a step that cannot go on yet.
type waiting struct {
	reason string
	after  time.Duration
}

func (w *waiting) Error() string { return "waiting: " + w.reason }

// Wait says that a step cannot go on yet, and that nothing is wrong. The object
// is looked at again when something that is watched changes, and after the given
// time at the latest; zero means that only a change matters. The steps after it
// still run: each looks for itself whether it has what it needs.
func Wait(reason string, after time.Duration) error {
	return &waiting{reason: reason, after: after}
}

// terminal is the outcome of a step that no retry can help.
type terminal struct{ err error }

func (t *terminal) Error() string { return t.err.Error() }
func (t *terminal) Unwrap() error { return t.err }

// Terminal says that only a person can help, by changing the object. The step
// has put the same into a condition. No later step runs.
func Terminal(err error) error { return &terminal{err: err} }

// Terminalf is Terminal with a formatted error.
func Terminalf(format string, args ...any) error { return Terminal(fmt.Errorf(format, args...)) }

// IsTerminal reports whether an error is an outcome of Terminal.
func IsTerminal(err error) bool {
	var t *terminal
	return errors.As(err, &t)
}

// Refused reports whether the API server, or a webhook that it asked, refused an
// object for what is written in it: trying again cannot help.
func Refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}
