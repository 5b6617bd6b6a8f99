package cli

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// sinkHelp tells people what a SINK is; every command that takes one shows it.
const sinkHelp = `A SINK is where events go, in the same namespace or at an address:
  NAME, function:NAME   a function of Knit
  ksvc:NAME             a Knative Service
  broker:NAME           a Broker
  channel:NAME          a Channel
  sequence:NAME         a Sequence
  parallel:NAME         a Parallel
  service:NAME          a Service of Kubernetes
  http://…, https://…   an address`

// sinkForms is sinkHelp for the end of an error.
const sinkForms = "write NAME or function:NAME, ksvc:NAME, broker:NAME, channel:NAME, sequence:NAME, parallel:NAME, service:NAME, or an http or https address"

// sinkKind is a word before the colon of a SINK and the kind that it means.
type sinkKind struct{ word, apiVersion, kind string }

// sinkKinds has ksvc before function: a reference to a Knative Service is shown
// as what it is, whether or not a function made it.
var sinkKinds = []sinkKind{
	{"ksvc", "serving.knative.dev/v1", "Service"},
	{"function", "serving.knative.dev/v1", "Service"},
	{"broker", "eventing.knative.dev/v1", "Broker"},
	{"channel", "messaging.knative.dev/v1", "Channel"},
	{"sequence", "flows.knative.dev/v1", "Sequence"},
	{"parallel", "flows.knative.dev/v1", "Parallel"},
	{"service", "v1", "Service"},
}

// sink is a SINK that a person wrote: an object of a kind, or an address.
type sink struct {
	sinkKind
	name string
	url  *apis.URL
}

// parseSink reads a SINK. Its errors name the value and the forms there are.
func parseSink(raw string) (sink, error) {
	if strings.Contains(raw, "://") {
		return parseAddress(raw)
	}
	word, name, qualified := strings.Cut(raw, ":")
	if !qualified {
		word, name = "function", raw
	}
	i := slices.IndexFunc(sinkKinds, func(k sinkKind) bool { return k.word == word })
	if i < 0 {
		return sink{}, cmdline.Usagef("the sink %q is of an unknown kind %q: %s", raw, word, sinkForms)
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return sink{}, cmdline.Usagef("the sink %q has no valid name %q: %s", raw, name, sinkForms)
	}
	return sink{sinkKind: sinkKinds[i], name: name}, nil
}

func parseAddress(raw string) (sink, error) {
	u, err := apis.ParseURL(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return sink{}, cmdline.Usagef("the sink %q is no absolute http or https address: %s", raw, sinkForms)
	}
	return sink{url: u}, nil
}

// reference is how objects in a namespace name the sink, if it is no address.
func (s sink) reference(namespace string) *duckv1.KReference {
	if s.url != nil {
		return nil
	}
	return &duckv1.KReference{APIVersion: s.apiVersion, Kind: s.kind, Namespace: namespace, Name: s.name}
}

// destination is the sink as Knative's objects hold it.
func (s sink) destination(namespace string) duckv1.Destination {
	return duckv1.Destination{Ref: s.reference(namespace), URI: s.url}
}

// sinkText shows a destination in the form of a SINK where it has one. A
// namespace other than the object's own is told.
func sinkText(d *duckv1.Destination, namespace string) string {
	if d == nil {
		return ""
	}
	if d.Ref == nil {
		return d.URI.String()
	}
	text := referenceText(d.Ref, namespace)
	if d.URI != nil {
		text += " " + d.URI.String()
	}
	return text
}

func referenceText(ref *duckv1.KReference, namespace string) string {
	if ref == nil {
		return ""
	}
	word := strings.ToLower(ref.Kind)
	group, _, _ := strings.Cut(ref.APIVersion, "/")
	for _, k := range sinkKinds {
		if known, _, _ := strings.Cut(k.apiVersion, "/"); known == group && k.kind == ref.Kind {
			word = k.word
			break
		}
	}
	text := word + ":" + ref.Name
	if ref.Namespace != "" && ref.Namespace != namespace {
		text += fmt.Sprintf(" (namespace %s)", ref.Namespace)
	}
	return text
}
