//go:build go1.24

package cloudevent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
)

// statusError is an error with the status to answer.
type statusError struct {
	status int
	cause  error
}

func (e statusError) Error() string   { return e.cause.Error() }
func (e statusError) Unwrap() error   { return e.cause }
func (e statusError) StatusCode() int { return e.status }

func refusal(status int, format string, args ...any) error {
	return statusError{status: status, cause: fmt.Errorf(format, args...)}
}

// acknowledged reports whether a non-nil error of the SDK's kind says that all
// went well: protocol.Receipt has ACK set, http.Result has a status of success.
func acknowledged(err error) bool {
	if status, ok := codeOf(err); ok {
		return status < http.StatusMultipleChoices
	}
	ack, ok := field(err, "ACK")
	return ok && ack.Kind() == reflect.Bool && ack.Bool()
}

// statusOf maps an error to the answer. An error without a code is a 500:
// Knative tries again after 5xx, 404, 408, 409 and 429 and gives up after any
// other 4xx, so a function that must not see an event again returns a 4xx.
func statusOf(err error) int {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if status, ok := codeOf(err); ok && status >= http.StatusBadRequest && status <= 599 {
		return status
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // while the body was read
		return http.StatusRequestTimeout
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// codeOf finds a status in the chain of errors: a method StatusCode() int, or
// the field StatusCode of the SDK's http.Result.
func codeOf(err error) (int, bool) {
	var coded interface{ StatusCode() int }
	if errors.As(err, &coded) {
		return coded.StatusCode(), true
	}
	status, ok := field(err, "StatusCode")
	if !ok || !status.CanInt() {
		return 0, false
	}
	return int(status.Int()), true
}

// field finds a struct field by name in the chain of errors. The SDK's error
// types are known by their fields, because importing their packages would ask
// more of the user's go.sum and vendor folder than the event package does.
func field(err error, name string) (reflect.Value, bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		value := reflect.Indirect(reflect.ValueOf(err))
		if value.Kind() != reflect.Struct {
			continue
		}
		if found := value.FieldByName(name); found.IsValid() {
			return found, true
		}
	}
	return reflect.Value{}, false
}
