// Package tap is how events that pass a Broker or a Channel are shown to a person:
// the function service listens for one caller, who makes a Trigger or Subscription
// that sends there, and streams what comes. The function service, the listener and
// the command line share it. It sends nothing itself.
package tap

import (
	"encoding/json"
	"net/url"
	"time"
)

const (
	// Label is on the Trigger or Subscription of a tap, with the value "true".
	Label = "knit.dev/tap"
	// AnnotationExpires says when it is removed if nobody renews it (RFC 3339), by
	// the clock of the control plane.
	AnnotationExpires = "knit.dev/tap-expires"
	// Life is how long it may stay without being renewed; Renewal how often the
	// stream says until when it may.
	Life    = 2 * time.Minute
	Renewal = 20 * time.Second
)

// Line is a line of the stream; one of the fields is set, in the first Open and Expires.
type Line struct {
	Open    *Open           `json:"open,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`   // in the JSON format of CloudEvents
	Dropped int             `json:"dropped,omitempty"` // events that the reader was too slow for
	Expires *time.Time      `json:"expires,omitempty"`
}

// Open says where the events of this stream are to be sent.
type Open struct {
	// URL is where this stream listens; it is a secret.
	URL string `json:"url"`
	// Nowhere takes what cannot be delivered there, so that it becomes no dead letter.
	Nowhere string `json:"nowhere"`
}

// Path is the path of the Kubernetes API that streams what passes an object.
// Its last part is log because kube-apiserver lets only such requests last.
func Path(namespace, resource, name string) string {
	return "/apis/service.knit.dev/v1alpha1/namespaces/" + url.PathEscape(namespace) + "/" + resource + "/" + url.PathEscape(name) + "/log"
}
