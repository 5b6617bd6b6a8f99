// Package emission is how an event travels through the API server to a Broker or
// a Channel: a POST of a CloudEvent in the JSON format to brokers/{name}/events or
// channels/{name}/events. The function service and the command line share it. It
// sends nothing itself.
package emission

import "net/url"

// Modes are the forms in which the Broker or Channel is sent the event, whatever
// form it comes in (CloudEvents, HTTP Protocol Binding 1.0, section 3).
const (
	QueryMode      = "mode"
	ModeBinary     = "binary" // attributes in headers; when no mode is named
	ModeStructured = "structured"
)

const (
	// ContentType is that of the event in the request.
	ContentType = "application/cloudevents+json"
	// MaxBody is the largest request in bytes: an event of 1 MiB of data, and
	// what the JSON format adds to it.
	MaxBody = 2 << 20
)

// Resources that take events.
const (
	Brokers  = "brokers"
	Channels = "channels"
)

// Answer says what the Broker or Channel answered. Of its text nothing is told:
// whoever may write an object's status could otherwise read through the control
// plane what other servers of the cluster say.
type Answer struct {
	Status int `json:"status"` // of HTTP
}

// Path is the path of the Kubernetes API that takes an event for an object.
func Path(namespace, resource, name, mode string) string {
	path := "/apis/service.knit.dev/v1alpha1/namespaces/" + url.PathEscape(namespace) + "/" + resource + "/" + url.PathEscape(name) + "/events"
	if mode != "" {
		path += "?" + url.Values{QueryMode: {mode}}.Encode()
	}
	return path
}
