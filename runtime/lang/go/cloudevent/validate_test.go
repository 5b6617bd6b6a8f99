//go:build go1.24

package cloudevent

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
)

// TestPlainEventsAreValid holds the short way to the SDK's verdict.
func TestPlainEventsAreValid(t *testing.T) {
	good := func(change func(*event.Event)) event.Event {
		e := event.New()
		e.SetID("1")
		e.SetType("t")
		e.SetSource("/s")
		change(&e)
		return e
	}
	cases := map[string]struct {
		event event.Event
		plain bool
	}{
		"the least":               {good(func(*event.Event) {}), true},
		"a subject":               {good(func(e *event.Event) { e.SetSubject("a b") }), true},
		"an extension":            {good(func(e *event.Event) { e.SetExtension("tier", "gold") }), true},
		"a media type":            {good(func(e *event.Event) { e.SetDataContentType("application/vnd.x+json") }), true},
		"a host alone as source":  {good(func(e *event.Event) { e.SetSource("https://example.com") }), true},
		"a name as source":        {good(func(e *event.Event) { e.SetSource("urn:x:y") }), true},
		"nothing":                 {event.New(), false},
		"no context":              {event.Event{}, false},
		"the older version":       {event.New(event.CloudEventsVersionV03), false},
		"an empty source":         {good(func(e *event.Event) { e.SetSource("") }), false},
		"a broken source":         {good(func(e *event.Event) { e.SetSource("%zz") }), false},
		"a broken extension":      {good(func(e *event.Event) { e.SetExtension("a-b", 1) }), false},
		"a subject of spaces":     {good(func(e *event.Event) { e.Context.(*event.EventContextV1).Subject = ptr("  ") }), false},
		"an id of spaces":         {good(func(e *event.Event) { e.Context.(*event.EventContextV1).ID = " " }), false},
		"a media type without /":  {good(func(e *event.Event) { e.SetDataContentType("json; =") }), false},
		"a media type in letters": {good(func(e *event.Event) { e.SetDataContentType("TEXT/Plain") }), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isPlain(c.event); got != c.plain {
				t.Errorf("plain is %t, want %t", got, c.plain)
			}
			got, want := validate(c.event) == nil, c.event.Validate() == nil
			if got != want {
				t.Errorf("valid is %t, the SDK says %t", got, want)
			}
		})
	}
}

func ptr(s string) *string { return &s }
