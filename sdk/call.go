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
	"github.com/cloudevents/sdk-go/v2/types"
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

// answered is an answer that was read whole.
type answered struct {
	header http.Header
	body   []byte
}

func exchange(ctx context.Context, function, mediaType string, body []byte) (answered, error) {
	if len(body) > MaxBytes {
		return answered{}, Errorf(http.StatusRequestEntityTooLarge, "call function %s: the request has %d bytes, more than %d", function, len(body), MaxBytes)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return answered{}, fmt.Errorf("call function %s: %w", function, err)
	}
	request.Header.Set("Content-Type", mediaType)
	answer, err := Do(function, request)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= 300 {
		return answered{}, fmt.Errorf("call function %s: %w", function, failure(answer))
	}
	content, err := readAll(answer)
	if err != nil {
		return answered{}, fmt.Errorf("call function %s: %w", function, err)
	}
	return answered{answer.Header, content}, nil
}

// event decodes binary and structured mode; nil when there is no event.
func (a answered) event() (*event.Event, error) {
	e := event.New()
	if strings.HasPrefix(a.header.Get("Content-Type"), structuredType) {
		if err := json.Unmarshal(a.body, &e); err != nil {
			return nil, err
		}
		return &e, e.Validate()
	}
	if a.header.Get("Ce-Specversion") == "" {
		return nil, nil
	}
	for name, values := range a.header {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		if err := setAttribute(&e, attribute, value); err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
	}
	if mediaType := a.header.Get("Content-Type"); mediaType != "" {
		e.SetDataContentType(mediaType)
	}
	e.DataEncoded = a.body
	return &e, e.Validate()
}

func setAttribute(e *event.Event, name, value string) error {
	switch name {
	case "specversion":
		e.SetSpecVersion(value)
	case "id":
		e.SetID(value)
	case "type":
		e.SetType(value)
	case "source":
		e.SetSource(value)
	case "subject":
		e.SetSubject(value)
	case "dataschema":
		e.SetDataSchema(value)
	case "time":
		t, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		e.SetTime(t)
	default:
		e.SetExtension(name, value)
	}
	return nil
}
