// Package sdk is what the author of a Go function imports: handlers with typed
// data, events sent to a sink or a broker, calls of other functions, errors
// with a status, and what the function may know of itself and of the request.
// It depends on the CloudEvents SDK alone and works in any pod, with Knit's
// runtime around it or without; it never speaks to Kubernetes.
//
// Inside of Knit's repository it is a package of the main module. For functions
// it is a module of its own, with go.mod.txt as its go.mod.
package sdk

import (
	"context"
	"net/http"
	"os"
	"strings"
)

// Self is what a function knows of itself; empty where nobody said so, as in a
// test.
type Self struct {
	Function  string // its name
	Namespace string
	Revision  string // of the Knative Service that runs
}

// Myself reads the environment that Knative and Knit give to a function.
func Myself() Self {
	return Self{
		Function:  os.Getenv("K_SERVICE"),
		Namespace: os.Getenv("KNIT_NAMESPACE"),
		Revision:  os.Getenv("K_REVISION"),
	}
}

// source is the default of an event's attribute source: a URI reference that
// names the function.
func (s Self) source() string {
	if s.Function == "" {
		return "/functions"
	}
	return "/functions/" + s.Namespace + "/" + s.Function
}

// headerKey is the key under which a request's header lies in its context. The
// runtime knows no SDK and the SDK no runtime; both can name this type, because
// an unnamed struct type is the same in every package.
var headerKey any = struct{ KnitRequestHeader bool }{}

// WithHeader returns a context that knows the header of the request that is
// being served. Knit's runtime has done so already; servers of one's own may.
func WithHeader(ctx context.Context, header http.Header) context.Context {
	return context.WithValue(ctx, headerKey, header)
}

func headerOf(ctx context.Context) http.Header {
	header, _ := ctx.Value(headerKey).(http.Header)
	return header
}

// TraceParent is the W3C trace context of the request, empty without one
// (https://www.w3.org/TR/trace-context/#traceparent-header).
func TraceParent(ctx context.Context) string { return headerOf(ctx).Get("Traceparent") }

// RequestID names the request in logs: its header X-Request-Id or, when the
// ingress sets none, the trace id of its trace context. It may be empty.
func RequestID(ctx context.Context) string {
	if id := headerOf(ctx).Get("X-Request-Id"); id != "" {
		return id
	}
	parts := strings.Split(TraceParent(ctx), "-")
	if len(parts) < 4 {
		return ""
	}
	return parts[1]
}
