// Package invocation is how a call of a function travels through the API server:
// a POST to functions/{name}/invoke that carries another request, and an answer
// that carries another answer. The function service and the command line share
// it. It sends nothing itself.
//
// What is carried stands apart from what carries it: the headers of the
// Kubernetes API (a login, who calls) never become the function's, and no status,
// redirect or type of a function means anything to a Kubernetes client.
package invocation

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	// QueryMethod and QueryPath name the carried request: its method, POST when
	// empty, and its path with query, / when empty.
	QueryMethod = "method"
	QueryPath   = "path"

	// HeaderPrefix stands before every carried header, in both directions.
	HeaderPrefix = "Knit-Header-"
	// HeaderStatus is the carried answer's status code.
	HeaderStatus = "Knit-Status"
)

// Path is the path of the Kubernetes API that carries a request.
func Path(namespace, function, method, path string) string {
	query := url.Values{}
	if method != "" {
		query.Set(QueryMethod, method)
	}
	if path != "" {
		query.Set(QueryPath, path)
	}
	return "/apis/service.knit.dev/v1alpha1/namespaces/" + url.PathEscape(namespace) + "/functions/" + url.PathEscape(function) +
		"/invoke?" + query.Encode()
}

// Wrap adds headers to those of the message that carries them. What is about a
// single connection is left out.
func Wrap(carrier, carried http.Header) {
	for name, values := range carried {
		if !travels(carried, name) {
			continue
		}
		for _, value := range values {
			carrier.Add(HeaderPrefix+name, value)
		}
	}
}

// Unwrap returns the headers that a message carries, and nothing of its own.
func Unwrap(carrier http.Header) http.Header {
	all := http.Header{}
	for name, values := range carrier {
		if inner, ok := strings.CutPrefix(name, HeaderPrefix); ok && inner != "" {
			all[http.CanonicalHeaderKey(inner)] = values
		}
	}
	carried := http.Header{}
	for name, values := range all {
		if travels(all, name) {
			carried[name] = values
		}
	}
	return carried
}

// connection are the headers about a single connection (RFC 9110, section 7.6.1),
// and those that say where a request goes: the function is chosen by its name.
var connection = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Content-Length": true, "Host": true, "Forwarded": true,
}

// steering begin the names by which Knative and its ingresses pass requests on.
var steering = []string{"K-", "Knative-", "X-Forwarded-", "X-Envoy-"}

func travels(all http.Header, name string) bool {
	name = http.CanonicalHeaderKey(name)
	if connection[name] {
		return false
	}
	for _, prefix := range steering {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	for _, listed := range all["Connection"] {
		for word := range strings.SplitSeq(listed, ",") {
			if http.CanonicalHeaderKey(strings.TrimSpace(word)) == name {
				return false
			}
		}
	}
	return true
}
