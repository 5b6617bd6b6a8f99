package invocation

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHeadersTravelApartFromTheirCarrier(t *testing.T) {
	cases := map[string]struct {
		reason        string
		carried, want http.Header
	}{
		"ordinary": {
			"every value of a header arrives",
			http.Header{"Content-Type": {"text/plain"}, "Ce-Id": {"1"}, "Accept": {"a", "b"}},
			http.Header{"Content-Type": {"text/plain"}, "Ce-Id": {"1"}, "Accept": {"a", "b"}},
		},
		"the function's own login": {
			"who names an Authorization for the function means it",
			http.Header{"Authorization": {"Bearer for-the-function"}}, http.Header{"Authorization": {"Bearer for-the-function"}},
		},
		"connection": {
			"a connection's headers end with the connection, also those that Connection lists",
			http.Header{"Connection": {"close, x-hop"}, "X-Hop": {"1"}, "Upgrade": {"websocket"}, "Transfer-Encoding": {"chunked"}, "Te": {"trailers"}},
			http.Header{},
		},
		"another target": {
			"the function is chosen by its name, not by headers",
			http.Header{
				"Host": {"other.ns.svc"}, "Knative-Serving-Namespace": {"other"}, "Knative-Serving-Revision": {"r"},
				"K-Original-Host": {"x"}, "X-Forwarded-Host": {"x"}, "Forwarded": {"host=x"}, "X-Envoy-Original-Path": {"/x"},
			},
			http.Header{},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			carrier := http.Header{"Authorization": {"Bearer of-kubernetes"}, "X-Remote-User": {"alice"}, "Cookie": {"c"}}
			Wrap(carrier, c.carried)
			if diff := cmp.Diff(c.want, Unwrap(carrier)); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
			// Whoever does not wrap with this package gets no further either.
			forged := http.Header{"Authorization": {"Bearer of-kubernetes"}}
			for name, values := range c.carried {
				forged[HeaderPrefix+name] = values
			}
			if diff := cmp.Diff(c.want, Unwrap(forged)); diff != "" {
				t.Errorf("%s, forged: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

func TestPathKeepsTheQueryOfTheCarriedRequest(t *testing.T) {
	parsed, err := url.Parse(Path("shop", "hello", "GET", "/items?page=2&x=a%2Fb"))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Path != "/apis/service.knit.dev/v1alpha1/namespaces/shop/functions/hello/invoke" {
		t.Errorf("path %s", parsed.Path)
	}
	if got := parsed.Query().Get(QueryPath); got != "/items?page=2&x=a%2Fb" || parsed.Query().Get(QueryMethod) != "GET" {
		t.Errorf("carries %s, %v", got, parsed.Query())
	}
}
