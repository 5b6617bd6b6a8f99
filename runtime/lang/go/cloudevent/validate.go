//go:build go1.24

package cloudevent

import (
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// validate is the SDK's Validate, which parses what nearly every event shows
// to be right at a glance.
func validate(e event.Event) error {
	if isPlain(e) {
		return nil
	}
	return e.Validate()
}

// isPlain knows events that the SDK would find valid; others may be, too.
func isPlain(e event.Event) bool {
	c, ok := e.Context.(*event.EventContextV1)
	return ok && c != nil && len(e.FieldErrors) == 0 &&
		isVisible(c.ID) && isVisible(c.Type) && (c.Source.Path != "" || c.Source.Host != "" || c.Source.Opaque != "") &&
		(c.Subject == nil || isVisible(*c.Subject)) &&
		(c.DataContentType == nil || isPlainMediaType(*c.DataContentType)) &&
		c.DataSchema == nil
}

// isVisible tells whether a value begins with something other than a space.
func isVisible(value string) bool { return value != "" && value[0] > ' ' && value[0] <= '~' }

// isPlainMediaType knows media types in lower case without parameters.
func isPlainMediaType(value string) bool {
	kind, subtype, ok := strings.Cut(value, "/")
	return ok && isToken(kind) && isToken(subtype)
}

func isToken(value string) bool {
	for _, c := range []byte(value) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return value != ""
}
