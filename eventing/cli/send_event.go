package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"github.com/knit-dev/knit/functions/api/emission"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// event is a CloudEvent and its JSON form, which travels through the API.
type event struct {
	cloudevents.Event
	encoded []byte
}

// read makes the event of the flags, or reads a whole one from a file.
func (s *sending) read() (*event, error) {
	if s.file != "" && s.event.Type == "" {
		return s.whole()
	}
	data, err := s.body()
	if err != nil {
		return nil, err
	}
	if file, ok := data.(*os.File); ok {
		defer file.Close()
	}
	made, err := s.event.Event(data, s.env.Now())
	if err != nil {
		return nil, err
	}
	return encode(made)
}

// body opens the data; nil when there is none.
func (s *sending) body() (io.Reader, error) {
	from := s.file
	if name, ok := strings.CutPrefix(s.data, "@"); ok {
		from = name
	} else if s.data == "-" {
		from = "-"
	}
	switch {
	case from == "-":
		return s.env.In, nil
	case from != "":
		return openEvents(from)
	case s.data == "":
		return nil, nil
	}
	return strings.NewReader(s.data), nil
}

// openEvents opens a file; whoever reads bounds what is read.
func openEvents(name string) (*os.File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the event: %w", err))
	}
	return file, nil
}

// whole reads a CloudEvent in JSON.
func (s *sending) whole() (*event, error) {
	if s.event.Set() {
		return nil, cmdline.Advise(cmdline.Usagef("--file without --type is a whole CloudEvent, to which flags add no attributes"),
			"add --type if %s holds only the data", s.file)
	}
	in := s.env.In
	if s.file != "-" {
		file, err := openEvents(s.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, emission.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the event in %s: %w", s.file, err)
	}
	if len(raw) > emission.MaxBody {
		return nil, cmdline.Usage(fmt.Errorf("the event in %s %w", s.file, errTooLarge))
	}
	e, err := decode(raw)
	if err != nil {
		return nil, cmdline.Advise(cmdline.Usage(fmt.Errorf("%s holds %w", s.file, err)), "give a CloudEvent in JSON, or add --type to send the file as data")
	}
	return e, nil
}

var errTooLarge = fmt.Errorf("is larger than %s: put its data somewhere and send the address", cmdline.Bytes(emission.MaxBody))

// decode reads a CloudEvent in JSON, which must be valid.
func decode(raw []byte) (*event, error) {
	// The SDK would read the first of several values and leave the rest.
	if !json.Valid(raw) {
		return nil, errors.New("no JSON")
	}
	var read cloudevents.Event
	err := json.Unmarshal(raw, &read)
	if err == nil {
		err = read.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("no valid CloudEvent: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if read.SpecVersion() != cloudevents.VersionV1 {
		return nil, fmt.Errorf("an event of specversion %s, where only %s is sent", read.SpecVersion(), cloudevents.VersionV1)
	}
	if len(read.Data()) > cmdline.MaxEvent {
		return nil, fmt.Errorf("data that is larger than %s: put it somewhere and send its address", cmdline.Bytes(cmdline.MaxEvent))
	}
	return encode(read)
}

// encode writes the JSON form. Data that JSON could not hold as it is goes in base64.
func encode(e cloudevents.Event) (*event, error) {
	if data := e.Data(); isJSON(e.DataMediaType()) {
		e.DataBase64 = !json.Valid(data)
	} else {
		e.DataBase64 = !utf8.Valid(data)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write the event %s as JSON: %w", cmdline.Plain(e.ID()), err)
	}
	if len(raw) > emission.MaxBody {
		return nil, cmdline.Usage(fmt.Errorf("the event %s %w", cmdline.Plain(e.ID()), errTooLarge))
	}
	return &event{Event: e, encoded: bytes.TrimSpace(raw)}, nil
}

// isJSON tells how the JSON format writes data of a type (CloudEvents JSON Event
// Format 1.0, section 3.1); data without a type is JSON.
func isJSON(media string) bool {
	return media == "" || strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json")
}
