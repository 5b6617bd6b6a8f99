package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// EventOf is the event that a request holds, in binary or structured mode; nil
// when it holds none. A function that takes HTTP gets events as ordinary
// requests. Its errors have a status: 413 for a body that is too large, else 400.
func EventOf(r *http.Request) (*event.Event, error) {
	if r.Header.Get("Ce-Specversion") == "" && !strings.HasPrefix(r.Header.Get("Content-Type"), structuredType) {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBytes+1))
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "read the event: %w", err)
	}
	if len(body) > MaxBytes {
		return nil, Errorf(http.StatusRequestEntityTooLarge, "the event has more than %d bytes", MaxBytes)
	}
	e, err := message{r.Header, body}.event()
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "the request is no valid event: %w", err)
	}
	return e, nil
}

// message is a request or an answer that was read whole.
type message struct {
	header http.Header
	body   []byte
}

// event decodes binary and structured mode; nil when there is no event.
func (m message) event() (*event.Event, error) {
	e := event.New()
	if strings.HasPrefix(m.header.Get("Content-Type"), structuredType) {
		if err := json.Unmarshal(m.body, &e); err != nil {
			return nil, err
		}
		return &e, e.Validate()
	}
	if m.header.Get("Ce-Specversion") == "" {
		return nil, nil
	}
	for name, values := range m.header {
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
	if mediaType := m.header.Get("Content-Type"); mediaType != "" {
		e.SetDataContentType(mediaType)
	}
	e.DataEncoded = m.body
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
