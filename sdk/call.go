package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// FunctionURL is the address of another function of the namespace, within the
// cluster: visible or not from outside, scaled to zero or not.
func FunctionURL(name string) (string, error) {
	namespace := Myself().Namespace
	if !dnsLabel.MatchString(name) || strings.Contains(name, ".") {
		return "", Errorf(http.StatusInternalServerError, "%q is no name of a function", name)
	}
	if namespace == "" {
		return "", Errorf(http.StatusInternalServerError, "the function's namespace is not known: KNIT_NAMESPACE is not set")
	}
	return "http://" + name + "." + namespace + ".svc.cluster.local", nil
}

// Do sends a request to another function of the namespace. Only path and query
// of the request's URL count. It passes on the trace context and the deadline of
// the request's context, and tries once. The answer's body is the caller's to close.
func Do(function string, request *http.Request) (*http.Response, error) {
	address, err := FunctionURL(function)
	if err != nil {
		return nil, fmt.Errorf("call function %s: %w", function, err)
	}
	target, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("call function %s: %w", function, err)
	}
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = target.Scheme, target.Host, ""
	answer, err := roundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("call function %s: %w", function, err)
	}
	return answer, nil
}

// Call posts a value as JSON to another function of the namespace and decodes
// its answer, as Do. An answer of 300 and above is an error with its status; one
// without a body is the zero value.
func Call[Out any](ctx context.Context, function string, in any) (Out, error) {
	var out Out
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("call function %s: encode %T: %w", function, in, err)
	}
	answer, err := exchange(ctx, function, event.ApplicationJSON, body)
	if err != nil || len(answer.body) == 0 {
		return out, err
	}
	if err := json.Unmarshal(answer.body, &out); err != nil {
		return out, Errorf(http.StatusBadGateway, "call function %s: its answer does not fit %T: %w", function, out, err)
	}
	return out, nil
}

// Send posts an event to another function of the namespace, as Do, and returns
// the event that it answers with, if it does. It fills in what is missing as
// EmitTo does, but tries once.
func Send(ctx context.Context, function string, e event.Event) (*event.Event, error) {
	e, err := complete(e)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("call function %s: encode event %s: %w", function, e.ID(), err)
	}
	answer, err := exchange(ctx, function, structuredType, body)
	if err != nil {
		return nil, err
	}
	reply, err := answer.event()
	if err != nil {
		return nil, Errorf(http.StatusBadGateway, "call function %s: its answer is no valid event: %w", function, err)
	}
	return reply, nil
}

func exchange(ctx context.Context, function, mediaType string, body []byte) (message, error) {
	if len(body) > MaxBytes {
		return message{}, Errorf(http.StatusRequestEntityTooLarge, "call function %s: the request has %d bytes, more than %d", function, len(body), MaxBytes)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return message{}, fmt.Errorf("call function %s: %w", function, err)
	}
	request.Header.Set("Content-Type", mediaType)
	answer, err := Do(function, request)
	if err != nil {
		return message{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= 300 {
		return message{}, fmt.Errorf("call function %s: %w", function, failure(answer))
	}
	content, err := readAll(answer)
	if err != nil {
		return message{}, fmt.Errorf("call function %s: %w", function, err)
	}
	return message{answer.Header, content}, nil
}
