// Package function is the CloudEvents function that the conformance suite
// drives. The other languages' fixtures behave alike.
package function

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

type coded int

func (c coded) Error() string   { return "told to fail" }
func (c coded) StatusCode() int { return int(c) }

// Handle does what the event's type says.
func Handle(ctx context.Context, e event.Event) (*event.Event, error) {
	switch e.Type() {
	case "nothing":
		return nil, nil
	case "invalid":
		reply := event.New()
		return &reply, nil
	case "fail":
		return nil, errors.New("boom")
	case "panic":
		panic("boom")
	case "code":
		var asked struct{ Status int }
		if err := e.DataAs(&asked); err != nil {
			return nil, err
		}
		return nil, coded(asked.Status)
	case "late":
		return nil, context.DeadlineExceeded
	case "wait":
		fmt.Fprintln(os.Stderr, "begun")
		<-ctx.Done()
		return nil, ctx.Err()
	case "log":
		slog.InfoContext(ctx, "said", "tier", "gold")
		return nil, nil
	case "trace":
		parent, _ := ctx.Value(struct{ Knit string }{"traceparent"}).(string)
		return answer(e, map[string]string{"traceparent": parent})
	case "large":
		return answer(e, strings.Repeat("x", 5000))
	}
	return answer(e, map[string]any{"seen": seen(e), "data": data(e)})
}

func answer(e event.Event, data any) (*event.Event, error) {
	reply := event.New()
	reply.SetID("re-" + e.ID())
	reply.SetType("reply")
	reply.SetSource("/f")
	reply.SetSubject("grün 5%")
	reply.SetExtension("count", 3)
	return &reply, reply.SetData("application/json", data)
}

// seen is every attribute as text.
func seen(e event.Event) map[string]string {
	attributes := map[string]string{
		"specversion": e.SpecVersion(), "id": e.ID(), "type": e.Type(), "source": e.Source(),
		"subject": e.Subject(), "datacontenttype": e.DataContentType(),
	}
	if !e.Time().IsZero() {
		attributes["time"] = e.Time().Format(time.RFC3339Nano)
	}
	for name, value := range e.Extensions() {
		attributes[name] = fmt.Sprint(value)
	}
	for name, value := range attributes {
		if value == "" {
			delete(attributes, name)
		}
	}
	return attributes
}

// data is JSON as a value, text as text and bytes in hexadecimal.
func data(e event.Event) any {
	mediaType := e.DataContentType()
	switch {
	case len(e.Data()) == 0:
		return nil
	case mediaType == "" || strings.HasSuffix(mediaType, "json"):
		return json.RawMessage(e.Data())
	case strings.HasPrefix(mediaType, "text/"):
		return string(e.Data())
	}
	return "bytes:" + hex.EncodeToString(e.Data())
}
