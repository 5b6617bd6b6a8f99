package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"

	"github.com/cloudevents/sdk-go/v2/event"
)

// MaxBytes is the largest event or request that is sent, and the largest answer
// that is read: as much as a function takes unless it says otherwise.
const MaxBytes = 10 << 20

const structuredType = "application/cloudevents+json"

// Destination is where an event is sent to. The zero value is the function's sink.
type Destination struct {
	broker, url string
}

// Sink is what the function is bound to, by the variable K_SINK: a SinkBinding
// of Knative sets it, or the Function's env.
func Sink() Destination { return Destination{} }

// Broker is a broker of the function's own namespace.
func Broker(name string) Destination { return Destination{broker: name} }

// URL is any address that takes CloudEvents over HTTP.
func URL(address string) Destination { return Destination{url: address} }

// Emit sends an event to the function's sink. See EmitTo.
func Emit(ctx context.Context, e event.Event) error { return EmitTo(ctx, Sink(), e) }

// EmitTo sends an event and returns when the receiver has taken it over. It
// fills in what is missing of id, source and time, and passes on the trace
// context of the request that is being served.
//
// After 404, 408, 409, 429, 5xx and failures of the network it tries again, at
// most five times within the context's deadline, with growing pauses, or those
// that Retry-After asks for. All tries send the same id. The error that is left
// has the receiver's last status.
func EmitTo(ctx context.Context, to Destination, e event.Event) error {
	e, err := complete(e)
	if err != nil {
		return err
	}
	address, err := to.address()
	if err != nil {
		return fmt.Errorf("emit event %s of type %s: %w", e.ID(), e.Type(), err)
	}
	if to == Sink() {
		if e, err = override(e, os.Getenv("K_CE_OVERRIDES")); err != nil {
			return err
		}
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("emit event %s of type %s: encode it: %w", e.ID(), e.Type(), err)
	}
	if err := deliver(ctx, address, body); err != nil {
		return fmt.Errorf("emit event %s of type %s to %s: %w%s", e.ID(), e.Type(), to, err, to.hint(err))
	}
	return nil
}

func (d Destination) String() string {
	switch {
	case d.broker != "":
		return "broker " + d.broker
	case d.url != "":
		return d.url
	}
	return "the sink"
}

// hint is what to do about a failure that has a likely cause.
func (d Destination) hint(err error) string {
	if d.broker == "" || StatusOf(err) != http.StatusNotFound {
		return ""
	}
	return fmt.Sprintf("; is there a broker %s in the namespace %s, and is it ready?", d.broker, Myself().Namespace)
}

func (d Destination) address() (string, error) {
	switch {
	case d.broker != "":
		return brokerAddress(d.broker)
	case d.url != "":
		return checked(d.url)
	case os.Getenv("K_SINK") == "":
		return "", Errorf(http.StatusInternalServerError, "the function has no sink: K_SINK is not set; bind one with a SinkBinding, set K_SINK in the Function's env, or send to sdk.Broker(name)")
	}
	return checked(os.Getenv("K_SINK"))
}

// checked refuses what is no address, before it is tried again and again.
func checked(address string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return "", Errorf(http.StatusInternalServerError, "%q is no address: want http://host/path", address)
	}
	return address, nil
}

// defaultIngress takes the events for brokers of Knative's own class.
const defaultIngress = "http://broker-ingress.knative-eventing.svc.cluster.local"

// dnsLabel is what a name in Kubernetes looks like
// (https://www.rfc-editor.org/rfc/rfc1123#section-2).
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// brokerAddress is where a broker takes events. KNIT_BROKER_INGRESS replaces
// the ingress of Knative's own brokers by that of another class.
func brokerAddress(name string) (string, error) {
	namespace := Myself().Namespace
	if !dnsLabel.MatchString(name) {
		return "", Errorf(http.StatusInternalServerError, "%q is no name of a broker", name)
	}
	if namespace == "" {
		return "", Errorf(http.StatusInternalServerError, "the function's namespace is not known: KNIT_NAMESPACE is not set")
	}
	ingress := os.Getenv("KNIT_BROKER_INGRESS")
	if ingress == "" {
		ingress = defaultIngress
	}
	joined, err := url.JoinPath(ingress, namespace, name)
	if err != nil {
		return "", Errorf(http.StatusInternalServerError, "KNIT_BROKER_INGRESS=%q is no address", ingress)
	}
	return checked(joined)
}

// override sets the attributes that a binding asks for
// (https://knative.dev/docs/eventing/custom-event-source/sinkbinding/reference/#cloudevent-overrides).
func override(e event.Event, overrides string) (event.Event, error) {
	if overrides == "" {
		return e, nil
	}
	var asked struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(overrides), &asked); err != nil {
		return e, Errorf(http.StatusInternalServerError, "K_CE_OVERRIDES is no JSON object with extensions: %w", err)
	}
	for name, value := range asked.Extensions {
		e.SetExtension(name, value)
	}
	if err := e.Validate(); err != nil {
		return e, Errorf(http.StatusInternalServerError, "K_CE_OVERRIDES makes an event that is not valid: %w", err)
	}
	return e, nil
}
