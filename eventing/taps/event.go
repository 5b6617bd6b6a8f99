package taps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// readEvent reads an event of at most maxEvent bytes, in any mode but batches, in the
// JSON format. Data that JSON could not hold as it is becomes base64.
func readEvent(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvent+1))
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	if len(body) > maxEvent {
		return nil, fmt.Errorf("the event has more than %d bytes", maxEvent)
	}
	read := r.Clone(r.Context())
	read.Body, read.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	e, err := cehttp.NewEventFromHTTPRequest(read)
	if err != nil {
		return nil, err
	}
	if media := e.DataMediaType(); media == "" || strings.HasSuffix(media, "json") {
		e.DataBase64 = !json.Valid(e.Data())
	} else {
		e.DataBase64 = !utf8.Valid(e.Data())
	}
	return json.Marshal(e)
}
