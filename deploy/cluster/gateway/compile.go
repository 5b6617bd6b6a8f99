package gateway

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/ingress"
)

// program is one generation of an Ingress, compiled. It depends on nothing but
// the Ingress, so a table is assembled from the programs of the one before.
type program struct {
	key        types.NamespacedName
	uid        types.UID
	generation int64
	hash       string // what the prober expects in the K-Network-Hash header
	redirect   bool   // plain HTTP from outside is sent to HTTPS
	external   map[string]*virtualHost
	internal   map[string]*virtualHost
	backends   []*backend // every backend that can get traffic
	tls        []tlsRef
	invalid    *problem // set when nothing can be served
}

// tlsRef says which secret holds the certificate of which external hosts.
type tlsRef struct {
	secret types.NamespacedName
	hosts  []string
}

// compile turns an Ingress into a program. backendOf must return the same
// pointer for the same key.
func compile(ing *v1alpha1.Ingress, clusterDomain string, backendOf func(backendKey) *backend) *program {
	p := &program{
		key:        types.NamespacedName{Namespace: ing.Namespace, Name: ing.Name},
		uid:        ing.UID,
		generation: ing.Generation,
		redirect:   ing.Spec.HTTPOption == v1alpha1.HTTPOptionRedirected,
		external:   map[string]*virtualHost{},
		internal:   map[string]*virtualHost{},
	}
	sum, err := ingress.ComputeHash(ing)
	if err != nil {
		p.invalid = &problem{"Invalid", fmt.Sprintf("cannot compute the hash of Ingress %s: %v", p.key, err)}
		return p
	}
	p.hash = hex.EncodeToString(sum[:])
	if ferr := ing.Validate(context.Background()); ferr != nil {
		p.invalid = &problem{"Invalid", fmt.Sprintf("Ingress %s cannot be served, correct its spec: %v", p.key, ferr)}
		return p
	}
	for i := range ing.Spec.Rules {
		p.addRule(&ing.Spec.Rules[i], clusterDomain, backendOf)
	}
	p.addTLS(ing)
	return p
}

func (p *program) addRule(rule *v1alpha1.IngressRule, clusterDomain string, backendOf func(backendKey) *backend) {
	routes := make([]*route, 0, len(rule.HTTP.Paths))
	for i := range rule.HTTP.Paths {
		routes = append(routes, p.compilePath(&rule.HTTP.Paths[i], backendOf))
	}
	hosts, into := rule.Hosts, p.external
	if rule.Visibility == v1alpha1.IngressVisibilityClusterLocal {
		hosts, into = localNames(rule.Hosts, clusterDomain), p.internal
	}
	if len(hosts) == 0 {
		hosts = []string{anyHost}
	}
	// A name that is listed twice, "a.ns" and "a.ns.svc" say, gets the rule once.
	for host := range sets.New(hosts...) {
		host = hostname(host)
		vh := into[host]
		if vh == nil {
			vh = &virtualHost{program: p}
			into[host] = vh
		}
		// The first rule for a host takes precedence.
		vh.routes = append(vh.routes, routes...)
	}
}

func (p *program) compilePath(path *v1alpha1.HTTPIngressPath, backendOf func(backendKey) *backend) *route {
	rt := &route{path: path.Path, rewriteHost: path.RewriteHost, set: compileHeaders(path.AppendHeaders)}
	for name, match := range path.Headers {
		rt.headers = append(rt.headers, headerMatch{http.CanonicalHeaderKey(name), match.Exact})
	}
	sort.Slice(rt.headers, func(i, j int) bool { return rt.headers[i].name < rt.headers[j].name })
	for i := range path.Splits {
		s := &path.Splits[i]
		percent := s.Percent
		if len(path.Splits) == 1 {
			percent = 100
		}
		if percent == 0 {
			continue
		}
		b := backendOf(backendKey{namespace: s.ServiceNamespace, service: s.ServiceName, port: s.ServicePort})
		if !slices.Contains(p.backends, b) {
			p.backends = append(p.backends, b)
		}
		rt.total += percent
		rt.splits = append(rt.splits, split{upTo: rt.total, backend: b, set: compileHeaders(s.AppendHeaders)})
	}
	return rt
}

// addTLS keeps the secrets that belong to external hosts of this Ingress. The
// cluster-local listeners speak plain HTTP only.
func (p *program) addTLS(ing *v1alpha1.Ingress) {
	for i := range ing.Spec.TLS {
		t := &ing.Spec.TLS[i]
		ref := tlsRef{secret: types.NamespacedName{Namespace: t.SecretNamespace, Name: t.SecretName}}
		if ref.secret.Namespace == "" {
			ref.secret.Namespace = ing.Namespace
		}
		for host := range p.external {
			if host != anyHost && (len(t.Hosts) == 0 || slices.ContainsFunc(t.Hosts, func(h string) bool { return hostname(h) == host })) {
				ref.hosts = append(ref.hosts, host)
			}
		}
		if len(ref.hosts) > 0 {
			sort.Strings(ref.hosts)
			p.tls = append(p.tls, ref)
		}
	}
}

func compileHeaders(in map[string]string) []setting {
	out := make([]setting, 0, len(in))
	for name, value := range in {
		out = append(out, setting{http.CanonicalHeaderKey(name), []string{value}})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

// localNames adds the short forms of cluster DNS names, which pods use thanks
// to the search list of their resolver.
func localNames(hosts []string, clusterDomain string) []string {
	out := slices.Clone(hosts)
	for _, host := range hosts {
		short, ok := strings.CutSuffix(host, ".svc."+clusterDomain)
		if ok {
			out = append(out, short, short+".svc")
			continue
		}
		if short, ok = strings.CutSuffix(host, ".svc"); ok {
			out = append(out, short)
		}
	}
	return out
}
