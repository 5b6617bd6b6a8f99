package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Exit codes of every knit command. They are part of its interface.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitTimeout     = 4
	ExitTrouble     = 5
	ExitInterrupted = 130
)

// exitCodesHelp is shown by `knit --help`.
const exitCodesHelp = `Exit codes:
  0    done
  1    failed
  2    wrong arguments, flags or knit.yaml
  3    the named object does not exist
  4    timed out
  5    failed, where 1 says that something would change (deploy --diff)
  130  interrupted`

// codedError is an error that decides the exit code.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// advisedError is an error with the step to take next.
type advisedError struct {
	error
	next string
}

func (e advisedError) Unwrap() error { return e.error }

// Usage marks a mistake in arguments, flags or a manifest.
func Usage(err error) error { return codedError{err, ExitUsage} }

// Usagef is Usage with a formatted message.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// NotFound marks the absence of an object that the caller named.
func NotFound(err error) error { return codedError{err, ExitNotFound} }

// Timeout marks a wait that ended before what it waited for.
func Timeout(err error) error { return codedError{err, ExitTimeout} }

// errDifferent is the outcome of a comparison, and says nothing more.
var errDifferent = errors.New("something would change")

// Different is the outcome of a comparison that has shown differences: exit code
// 1, as of diff and kubectl diff, and no message.
func Different() error { return codedError{errDifferent, ExitFailure} }

// BesidesDifference gives an error that is no difference an exit code of its own.
func BesidesDifference(err error) error {
	if Code(err) != ExitFailure || errors.Is(err, errDifferent) {
		return err
	}
	return Exit(err, ExitTrouble)
}

// Exit gives err the exit code of a program that was run in its place.
func Exit(err error, code int) error { return codedError{err, code} }

// Advise adds the step to take next, a sentence without capital or full stop.
func Advise(err error, format string, args ...any) error {
	return advisedError{err, fmt.Sprintf(format, args...)}
}

// Code returns the exit code that err stands for.
func Code(err error) int {
	var coded codedError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err):
		return ExitTimeout
	case apierrors.IsNotFound(err) && !noSuchResource(err):
		return ExitNotFound
	}
	return ExitFailure
}

// report writes err as a person should read it: what failed, then what to do.
func report(w io.Writer, err error) {
	if errors.Is(err, errDifferent) {
		return
	}
	message := strings.TrimSuffix(err.Error(), "\n")
	fmt.Fprintf(w, "knit: %s\n", message)
	if next := nextStep(err); next != "" {
		fmt.Fprintf(w, "next: %s\n", next)
	}
}

// nextStep returns the advice an error carries or, failing that, the one that
// follows from its kind.
func nextStep(err error) string {
	var advised advisedError
	var netErr *net.OpError
	switch {
	case errors.As(err, &advised):
		return advised.next
	case noSuchResource(err):
		return "install Knit on this cluster with `knit install`"
	case apierrors.IsUnauthorized(err):
		return "log in again, or check the user of the kubeconfig's context (`kubectl config view --minify`)"
	case apierrors.IsForbidden(err):
		return "ask for the ClusterRole knit-edit (or knit-view to read only) in that namespace"
	case apierrors.IsConflict(err):
		return "another owner set these fields: look with `kubectl get -o yaml --show-managed-fields`, then remove them from one of the two"
	case errors.As(err, &netErr) && netErr.Op == "dial":
		return "check that the cluster runs (`knit cluster status`, or `kubectl cluster-info`)"
	}
	return ""
}

// noSuchResource tells that the server does not know the kind at all, which
// it reports with the same reason as an absent object.
func noSuchResource(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) &&
		strings.Contains(status.Status().Message, "could not find the requested resource")
}
