package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Error is an error with a status of HTTP, from 400 to 599. As the error of an
// event function it decides what the sender does: Knative delivers again after
// 404, 408, 409, 429 and 5xx, and gives up after any other 4xx, so that the
// event goes to the dead letter sink.
type Error struct {
	Status int
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusCode is the status that Knit's runtime answers with.
func (e *Error) StatusCode() int { return e.Status }

// Errorf makes an Error; the text is fmt.Errorf's.
func Errorf(status int, format string, args ...any) error {
	return &Error{Status: status, Err: fmt.Errorf(format, args...)}
}

// Reject says that the event must not be delivered again: another try would
// not help. The status is 422.
func Reject(format string, args ...any) error {
	return Errorf(http.StatusUnprocessableEntity, format, args...)
}

// Retry says that the event should be delivered again: what failed may pass.
// The status is 503. An error without a status has the same effect.
func Retry(format string, args ...any) error {
	return Errorf(http.StatusServiceUnavailable, format, args...)
}

// StatusOf is what Knit's runtime answers for what an event function returned:
// 200 for nil, the error's own status, 504 for a deadline that passed, else 500.
func StatusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var coded interface{ StatusCode() int }
	if errors.As(err, &coded) && coded.StatusCode() >= 400 && coded.StatusCode() <= 599 {
		return coded.StatusCode()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// Retriable tells whether a sender that gets the status tries again, by the
// rules of Knative's delivery
// (https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md).
func Retriable(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}
