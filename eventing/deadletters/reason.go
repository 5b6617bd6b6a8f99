package deadletters

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// Attributes that Knative gives to a dead letter
// (https://knative.dev/docs/eventing/event-delivery/#dead-letter-sink).
const (
	extensionDestination = "knativeerrordest"
	extensionCode        = "knativeerrorcode"
	extensionData        = "knativeerrordata"
	// extensionTTL is the broker's own count of hops. An event that is sent again
	// begins anew.
	extensionTTL = "knativebrokerttl"
)

const (
	maxDestination = 1024 // characters kept of the URL
	maxReason      = 1024 // characters kept of the answer
	maxTrace       = 128  // bytes of a traceparent
)

// takeReason takes Knative's attributes off the event, which is then as it was
// sent, and makes a letter of them. An event with a broker's count of hops came
// from a broker.
func takeReason(e *event.Event) (l deadletter.Letter, fromBroker bool) {
	l = deadletter.Letter{
		Event: deadletter.HeadOf(e.ID(), e.Source(), e.Type(), e.Subject()),
		Size:  int64(len(e.Data())),
	}
	for name, value := range e.Extensions() {
		text, _ := value.(string)
		switch name {
		case extensionDestination:
			l.Destination = clean(text, maxDestination)
		case extensionCode:
			l.Code = codeOf(value)
		case extensionData:
			l.Reason = reasonText(text)
		case extensionTTL:
			fromBroker = true
		default:
			continue
		}
		e.SetExtension(name, nil)
	}
	return l, fromBroker
}

// codeOf reads a status, which is a number or its text, as the mode has it.
func codeOf(value any) int {
	switch v := value.(type) {
	case int32:
		return int(v)
	case string:
		code, _ := strconv.Atoi(v)
		return code
	}
	return 0
}

// reasonText decodes knativeerrordata, which is base64 and cut off somewhere.
func reasonText(text string) string {
	whole := text[:len(text)/4*4]
	if raw, err := base64.StdEncoding.DecodeString(whole); err == nil {
		text = string(raw)
	}
	return clean(text, maxReason)
}

// clean makes a text of someone else's fit to be kept: valid, in one line, short.
func clean(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\ufffd")), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most])
	}
	return text
}

// sameKey tells an event that comes twice from two: the same event (by source
// and id, as CloudEvents has it) that failed on the way to the same destination.
func sameKey(l deadletter.Letter, e *event.Event) string {
	h := sha256.New()
	for _, part := range []string{e.Source(), e.ID(), l.Destination, strconv.Itoa(l.Code)} {
		h.Write([]byte(part + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
