package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func TestASinkIsAnObjectOrAnAddress(t *testing.T) {
	ref := func(apiVersion, kind, name string) duckv1.Destination {
		return duckv1.Destination{Ref: &duckv1.KReference{APIVersion: apiVersion, Kind: kind, Namespace: "shop", Name: name}}
	}
	cases := map[string]struct {
		raw   string
		want  duckv1.Destination
		shown string // when not raw
	}{
		"a bare name is a function": {"orders", ref("serving.knative.dev/v1", "Service", "orders"), "ksvc:orders"},
		"a function":                {"function:orders", ref("serving.knative.dev/v1", "Service", "orders"), "ksvc:orders"},
		"a name with dots":          {"a.b-c", ref("serving.knative.dev/v1", "Service", "a.b-c"), "ksvc:a.b-c"},
		"a Knative Service":         {"ksvc:web", ref("serving.knative.dev/v1", "Service", "web"), ""},
		"a broker":                  {"broker:default", ref("eventing.knative.dev/v1", "Broker", "default"), ""},
		"a channel":                 {"channel:c", ref("messaging.knative.dev/v1", "Channel", "c"), ""},
		"a sequence":                {"sequence:s", ref("flows.knative.dev/v1", "Sequence", "s"), ""},
		"a parallel":                {"parallel:p", ref("flows.knative.dev/v1", "Parallel", "p"), ""},
		"a Kubernetes Service":      {"service:db", ref("v1", "Service", "db"), ""},
		"an address":                {"https://example.com:8443/in?a=b,c", duckv1.Destination{URI: &apis.URL{Scheme: "https", Host: "example.com:8443", Path: "/in", RawQuery: "a=b,c"}}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := parseSink(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			got := s.destination("shop")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.raw, diff)
			}
			if c.shown == "" {
				c.shown = c.raw
			}
			if shown := sinkText(&got, "shop"); shown != c.shown {
				t.Errorf("%q is shown as %q, want %q", c.raw, shown, c.shown)
			}
		})
	}
}

func TestWhatIsNoSinkIsNamedWithTheFormsThereAre(t *testing.T) {
	cases := map[string]struct{ raw, want string }{
		"nothing":               {"", `"" has no valid name`},
		"a kind without a name": {"broker:", `"broker:" has no valid name ""`},
		"an unknown kind":       {"queue:q", `"queue:q" is of an unknown kind "queue"`},
		"a kind in capitals":    {"Broker:b", `unknown kind "Broker"`},
		"a name in capitals":    {"Orders", `"Orders" has no valid name`},
		"two colons":            {"broker:a:b", `has no valid name "a:b"`},
		"another namespace":     {"broker:other/b", `has no valid name "other/b"`},
		"another scheme":        {"ftp://example.com", `"ftp://example.com" is no absolute http or https address`},
		"no host":               {"http:///x", `is no absolute http`},
		"no URL":                {"http://%zz", `is no absolute http`},
		"a control character":   {"a\x1b[31m", `"a\x1b[31m" has no valid name`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parseSink(c.raw)
			if err == nil || cmdline.Code(err) != cmdline.ExitUsage {
				t.Fatalf("%q: %v, want a usage error", c.raw, err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), sinkForms) {
				t.Errorf("%q: %v, want %q and the forms in it", c.raw, err, c.want)
			}
		})
	}
}

func TestADestinationIsShownAsWhatItIs(t *testing.T) {
	cases := map[string]struct {
		destination *duckv1.Destination
		want        string
	}{
		"none":                   {nil, ""},
		"empty":                  {&duckv1.Destination{}, ""},
		"a kind without a word":  {&duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "messaging.knative.dev/v1", Kind: "InMemoryChannel", Name: "c"}}, "inmemorychannel:c"},
		"an older version":       {&duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "serving.knative.dev/v1beta1", Kind: "Service", Name: "s"}}, "ksvc:s"},
		"another namespace":      {&duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "v1", Kind: "Service", Name: "s", Namespace: "b"}}, "service:s (namespace b)"},
		"a path below an object": {&duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "v1", Kind: "Service", Name: "s"}, URI: &apis.URL{Path: "/in"}}, "service:s /in"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := sinkText(c.destination, "a"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
