package gateway

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// claim is an Ingress that wants its hosts; the older one wins.
type claim struct {
	created int64 // Unix seconds
	program *program
}

// certificates finds the key pair of a secret.
type certificates interface {
	// certificate returns the key pair in a TLS secret, or an error that names
	// the secret and says what to do.
	certificate(secret types.NamespacedName) (*tls.Certificate, error)
}

// build assembles a table. The order of claims does not matter: a host that
// several Ingresses want goes to the oldest of them, so that nobody can take a
// host away from its owner.
func build(claims []claim, certs certificates, servesTLS bool) *table {
	slices.SortFunc(claims, func(a, b claim) int {
		if a.created != b.created {
			return int(a.created - b.created)
		}
		return strings.Compare(a.program.key.String(), b.program.key.String())
	})
	t := &table{
		external:  map[string]*virtualHost{},
		internal:  map[string]*virtualHost{},
		certs:     map[string]*tls.Certificate{},
		ingresses: make(map[types.NamespacedName]*ingressState, len(claims)),
	}
	for _, c := range claims {
		state := &ingressState{program: c.program}
		t.ingresses[c.program.key] = state
		if c.program.invalid != nil {
			state.problems = append(state.problems, *c.program.invalid)
			continue
		}
		state.claim(t.external, c.program.external)
		state.claim(t.internal, c.program.internal)
		state.addCertificates(t, certs, servesTLS)
	}
	return t
}

// claim adds virtual hosts to the table unless an older Ingress has the name.
func (s *ingressState) claim(into, hosts map[string]*virtualHost) {
	for _, name := range sortedKeys(hosts) {
		if owner, taken := into[name]; taken {
			s.problems = append(s.problems, problem{"HostConflict", fmt.Sprintf(
				"host %q already belongs to the older Ingress %s; remove the host from one of them", name, owner.program.key)})
			continue
		}
		into[name] = hosts[name]
	}
}

func (s *ingressState) addCertificates(t *table, certs certificates, servesTLS bool) {
	for _, ref := range s.program.tls {
		if !servesTLS {
			s.problems = append(s.problems, problem{"NoTLSListener",
				"the gateway has no HTTPS listener; remove spec.tls or start knit-cluster with one"})
			return
		}
		if ref.secret.Namespace != s.program.key.Namespace {
			s.problems = append(s.problems, problem{"CertificateNotAllowed", fmt.Sprintf(
				"Secret %s is in another namespace than Ingress %s; copy it there", ref.secret, s.program.key)})
			continue
		}
		cert, err := certs.certificate(ref.secret)
		if err != nil {
			s.problems = append(s.problems, problem{"CertificateNotUsable", err.Error()})
			continue
		}
		for _, host := range ref.hosts {
			if vh := t.external[host]; vh != nil && vh.program == s.program {
				t.certs[host] = cert
			}
		}
	}
}

// waitingFor names the backends that have no endpoint yet, or is empty.
func (s *ingressState) waitingFor() string {
	var waiting []string
	for _, b := range s.program.backends {
		if reason := b.unavailable(); reason != "" {
			waiting = append(waiting, reason)
		}
	}
	return strings.Join(waiting, "; ")
}

// same reports whether two states lead to the same status.
func (s *ingressState) same(o *ingressState) bool {
	return o != nil && s.program == o.program && slices.Equal(s.problems, o.problems)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
