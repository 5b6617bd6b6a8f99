package gateway

import (
	"crypto/tls"
	"math/rand/v2"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// table is all that the request path knows. It is never changed once stored.
type table struct {
	external  map[string]*virtualHost // by lower-case host without port; anyHost for rules without hosts
	internal  map[string]*virtualHost
	certs     map[string]*tls.Certificate // by lower-case host
	ingresses map[types.NamespacedName]*ingressState
}

// anyHost is the key of rules that name no host.
const anyHost = ""

// ingressState is what became of one Ingress in one table.
type ingressState struct {
	program  *program
	problems []problem
}

// problem is a reason why an Ingress is not ready that only a change of an
// object can cure.
type problem struct {
	reason  string // CamelCase, for the condition
	message string // names the object and the next step
}

// virtualHost is what one Ingress says of one host and visibility.
type virtualHost struct {
	program *program
	routes  []*route
}

// route is one path of a rule, compiled.
type route struct {
	path        string // literal prefix; empty matches everything
	headers     []headerMatch
	set         []setting // set on the request before those of the split
	rewriteHost string
	splits      []split // without those of 0 percent
	total       int     // sum of the percentages
}

type headerMatch struct {
	name  string // canonical
	exact string
}

// setting is a request header to set. The values are shared by all requests, so
// their capacity equals their length and nobody can append in place.
type setting struct {
	name   string // canonical
	values []string
}

type split struct {
	upTo    int // exclusive upper bound of the draws that choose this split
	backend *backend
	set     []setting
}

// lookup returns the virtual host for a Host header, or nil.
func (t *table) lookup(visibility v1alpha1.IngressVisibility, host string) *virtualHost {
	hosts := t.external
	if visibility == v1alpha1.IngressVisibilityClusterLocal {
		hosts = t.internal
	}
	if vh, ok := hosts[host]; ok {
		return vh
	}
	return hosts[anyHost]
}

// match returns the first route for a request, or nil: the order of the paths
// in the Ingress decides, as its API says.
func (v *virtualHost) match(r *http.Request) *route {
	for _, rt := range v.routes {
		if rt.matches(r) {
			return rt
		}
	}
	return nil
}

func (rt *route) matches(r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, rt.path) {
		return false
	}
	for i := range rt.headers {
		values := r.Header[rt.headers[i].name]
		if len(values) == 0 || values[0] != rt.headers[i].exact {
			return false
		}
	}
	return true
}

// choose draws a split by its percentage.
func (rt *route) choose() *split {
	if len(rt.splits) == 1 {
		return &rt.splits[0]
	}
	draw := rand.IntN(rt.total)
	for i := range rt.splits {
		if draw < rt.splits[i].upTo {
			return &rt.splits[i]
		}
	}
	return &rt.splits[len(rt.splits)-1]
}

// hostname reduces a Host header or server name to the key of the table: no
// port, no trailing dot, lower case. It allocates only for upper case.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
