//go:build go1.24

package cloudevent

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Media types of the CloudEvents HTTP binding, section 3:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
const (
	structuredType = "application/cloudevents+json"
	eventTypes     = "application/cloudevents"
	headerPrefix   = "Ce-"
)

// smallBody is in bytes.
const smallBody = 64 << 10

// decode reads the one event of a request. Its errors carry a status.
func decode(r *http.Request) (event.Event, error) {
	mediaType, err := contentType(r)
	if err != nil {
		return event.Event{}, err
	}
	switch {
	case mediaType == structuredType:
		return decodeStructured(r)
	case strings.HasPrefix(mediaType, eventTypes):
		return event.Event{}, refusal(http.StatusUnsupportedMediaType,
			"content type %s is not taken: send one event in binary mode or as %s", mediaType, structuredType)
	case r.Header.Get("Ce-Specversion") != "":
		return decodeBinary(r)
	}
	return event.Event{}, refusal(http.StatusBadRequest,
		"the request is no CloudEvent: it has neither a ce-specversion header nor the content type %s", structuredType)
}

func contentType(r *http.Request) (string, error) {
	value := r.Header.Get("Content-Type")
	if value == "" || isPlainMediaType(value) {
		return value, nil
	}
	mediaType, _, err := mime.ParseMediaType(value)
	if err != nil {
		return "", refusal(http.StatusBadRequest, "content type %q: %w", value, err)
	}
	return mediaType, nil
}

func decodeStructured(r *http.Request) (event.Event, error) {
	body, err := readBody(r)
	if err != nil {
		return event.Event{}, err
	}
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, refusal(http.StatusBadRequest, "structured event: %w", err)
	}
	if e.DataBase64 && hasTwoData(body) {
		return event.Event{}, refusal(http.StatusBadRequest, "structured event: data and data_base64 exclude each other")
	}
	return checked(e)
}

// hasTwoData finds what the SDK does not: it mixes the two up. It decodes for a
// second time, but only events with bytes.
func hasTwoData(body []byte) bool {
	var event struct {
		Data json.RawMessage `json:"data"`
	}
	return json.Unmarshal(body, &event) == nil && len(event.Data) > 0
}

func decodeBinary(r *http.Request) (event.Event, error) {
	if version := r.Header.Get("Ce-Specversion"); version != event.CloudEventsVersionV1 {
		return event.Event{}, refusal(http.StatusBadRequest, "ce-specversion %q is not taken: want %s", version, event.CloudEventsVersionV1)
	}
	attributes := &event.EventContextV1{}
	for name, values := range r.Header {
		if !strings.HasPrefix(name, headerPrefix) {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err == nil {
			err = setAttribute(attributes, name, value)
		}
		if err != nil {
			return event.Event{}, refusal(http.StatusBadRequest, "header %s: %w", name, err)
		}
	}
	body, err := readBody(r)
	if err != nil {
		return event.Event{}, err
	}
	if value := r.Header.Get("Content-Type"); value != "" {
		attributes.DataContentType = &value
	}
	e := event.Event{Context: attributes}
	if len(body) > 0 {
		e.DataEncoded = body
	}
	return checked(e)
}

// setAttribute sets one context attribute from the string form in a header,
// whose name is canonical.
func setAttribute(attributes *event.EventContextV1, header, value string) error {
	switch header {
	case "Ce-Specversion", "Ce-Datacontenttype": // the version is known, the type is the Content-Type header
		return nil
	case "Ce-Id":
		return attributes.SetID(value)
	case "Ce-Type":
		return attributes.SetType(value)
	case "Ce-Source":
		return attributes.SetSource(value)
	case "Ce-Subject":
		return attributes.SetSubject(value)
	case "Ce-Dataschema":
		return attributes.SetDataSchema(value)
	case "Ce-Time":
		return setTime(attributes, value)
	}
	return attributes.SetExtension(strings.ToLower(header[len(headerPrefix):]), value)
}

// readBody takes memory for small bodies at once, and for others as they come:
// a declared length is no reason to believe that so much will be sent.
func readBody(r *http.Request) ([]byte, error) {
	var body []byte
	var err error
	if n := r.ContentLength; n >= 0 && n <= smallBody {
		body = make([]byte, n)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(r.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("read event body: %w", err)
	}
	return body, nil
}

func checked(e event.Event) (event.Event, error) {
	if err := validate(e); err != nil {
		return event.Event{}, refusal(http.StatusBadRequest, "invalid event: %w", err)
	}
	return e, nil
}
