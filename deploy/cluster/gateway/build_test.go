package gateway

import (
	"crypto/tls"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/ingress"
)

// unresolved makes backends without endpoints, one for each key.
func unresolved() func(backendKey) *backend {
	made := map[backendKey]*backend{}
	return func(key backendKey) *backend {
		if made[key] == nil {
			made[key] = &backend{key: key}
			made[key].set.Store(&endpointSet{reason: "Service " + key.name().String() + " has no ready endpoints"})
		}
		return made[key]
	}
}

type certMap map[string]*tls.Certificate

func (m certMap) certificate(name types.NamespacedName) (*tls.Certificate, error) {
	if cert := m[name.String()]; cert != nil {
		return cert, nil
	}
	return nil, errors.New("there is no Secret " + name.String())
}

func TestHostname(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test", "a.test:80": "a.test", "A.Test.": "a.test", "a.test.:8080": "a.test",
		"[::1]": "[::1]", "[::1]:80": "[::1]", "10.0.0.1:80": "10.0.0.1", "": "", ":80": "",
	} {
		if got := hostname(in); got != want {
			t.Errorf("hostname(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLocalNames(t *testing.T) {
	got := localNames([]string{"a.ns.svc.cluster.local", "b.ns.svc", "c.ns", "d.example.com"}, "cluster.local")
	want := []string{"a.ns", "a.ns.svc", "a.ns.svc.cluster.local", "b.ns", "b.ns.svc", "c.ns", "d.example.com"}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCompile(t *testing.T) {
	tagged := pathTo("next")
	tagged.Headers = map[string]v1alpha1.HeaderMatch{"tag": {Exact: "n"}, "a": {Exact: "b"}}
	tagged.AppendHeaders = map[string]string{"which": "next"}
	split := v1alpha1.HTTPIngressPath{Path: "/p", RewriteHost: "other", Splits: []v1alpha1.IngressBackendSplit{
		splitTo("blue", 30), splitTo("never", 0), splitTo("green", 70),
	}}
	ing := ingressFor("x",
		rule(external, "X.test", tagged), rule(external, "x.test,y.test", split),
		rule(local, "x.ns.svc.cluster.local", pathTo("blue")),
		rule("", "", pathTo("any")),
	)
	p := compile(ing, "cluster.local", unresolved())
	if p.invalid != nil {
		t.Fatal(p.invalid)
	}
	sum, _ := ingress.ComputeHash(ing)
	if p.hash == "" || !strings.HasPrefix(p.hash, strings.ToLower(hexByte(sum[0]))) {
		t.Errorf("hash %q", p.hash)
	}
	if d := cmp.Diff([]string{"", "x.test", "y.test"}, sortedKeys(p.external)); d != "" {
		t.Errorf("external hosts: %s", d)
	}
	if d := cmp.Diff([]string{"x.ns", "x.ns.svc", "x.ns.svc.cluster.local"}, sortedKeys(p.internal)); d != "" {
		t.Errorf("internal hosts: %s", d)
	}
	x := p.external["x.test"].routes
	if len(x) != 2 || x[1].path != "/p" || x[1].rewriteHost != "other" || x[1].total != 100 || len(x[1].splits) != 2 || x[1].splits[0].upTo != 30 {
		t.Errorf("rules for one host are joined in their order: %+v", x)
	}
	if d := cmp.Diff([]headerMatch{{"A", "b"}, {"Tag", "n"}}, x[0].headers, cmp.AllowUnexported(headerMatch{})); d != "" {
		t.Errorf("headers: %s", d)
	}
	if got := x[0].set[0]; got.name != "Which" || got.values[0] != "next" || cap(got.values) != 1 {
		t.Errorf("set header: %+v", got)
	}
	var names []string
	for _, b := range p.backends {
		names = append(names, b.key.service)
	}
	if d := cmp.Diff([]string{"next", "blue", "green", "any"}, names); d != "" {
		t.Errorf("backends with traffic: %s", d)
	}
}

func hexByte(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

func TestBuild(t *testing.T) {
	backendOf := unresolved()
	claimOf := func(created int64, ing *v1alpha1.Ingress) claim {
		return claim{created, compile(ing, "cluster.local", backendOf)}
	}
	withTLS := func(ing *v1alpha1.Ingress, namespace, secret string, hosts ...string) *v1alpha1.Ingress {
		ing.Spec.TLS = append(ing.Spec.TLS, v1alpha1.IngressTLS{Hosts: hosts, SecretName: secret, SecretNamespace: namespace})
		return ing
	}
	foreign := ingressFor("bad", rule(external, "bad.test", pathTo("x")))
	foreign.Spec.Rules[0].HTTP.Paths[0].Splits[0].ServiceNamespace = "other"
	one := func() *v1alpha1.Ingress { return ingressFor("one", rule(external, "a.test,b.test", pathTo("x"))) }

	for name, tc := range map[string]struct {
		claims   []claim
		noTLS    bool
		owners   map[string]string // external host → Ingress
		certs    []string
		problems map[string]string // Ingress → part of its first problem
	}{
		"the oldest Ingress owns a host": {
			claims: []claim{
				claimOf(20, ingressFor("young", rule(external, "a.test,c.test", pathTo("x")))),
				claimOf(10, ingressFor("old", rule(external, "a.test", pathTo("x")))),
			},
			owners:   map[string]string{"a.test": "old", "c.test": "young"},
			problems: map[string]string{"young": `host "a.test" already belongs to the older Ingress default/old`},
		},
		"the name decides between two of one age": {
			claims: []claim{
				claimOf(10, ingressFor("b", rule(external, "a.test", pathTo("x")))),
				claimOf(10, ingressFor("a", rule(external, "a.test", pathTo("x")))),
			},
			owners:   map[string]string{"a.test": "a"},
			problems: map[string]string{"b": "already belongs to"},
		},
		"a host may be external and local": {
			claims: []claim{claimOf(1, ingressFor("e", rule(external, "a.test", pathTo("x")))), claimOf(2, ingressFor("l", rule(local, "a.test", pathTo("x"))))},
			owners: map[string]string{"a.test": "e"},
		},
		"a Service of another namespace is refused": {
			claims:   []claim{claimOf(1, foreign)},
			problems: map[string]string{"bad": "service namespace must match ingress namespace"},
		},
		"certificates by host": {
			claims: []claim{claimOf(1, withTLS(one(), "default", "good", "a.test"))},
			owners: map[string]string{"a.test": "one", "b.test": "one"}, certs: []string{"a.test"},
		},
		"a certificate without hosts is for all": {
			claims: []claim{claimOf(1, withTLS(one(), "default", "good"))},
			owners: map[string]string{"a.test": "one", "b.test": "one"}, certs: []string{"a.test", "b.test"},
		},
		"a missing certificate leaves plain HTTP": {
			claims:   []claim{claimOf(1, withTLS(one(), "default", "none", "a.test"))},
			owners:   map[string]string{"a.test": "one", "b.test": "one"},
			problems: map[string]string{"one": "there is no Secret default/none"},
		},
		"a certificate of another namespace is refused": {
			claims:   []claim{claimOf(1, withTLS(one(), "other", "good", "a.test"))},
			owners:   map[string]string{"a.test": "one", "b.test": "one"},
			problems: map[string]string{"one": "Secret other/good is in another namespace"},
		},
		"a certificate for the host of another Ingress is not used": {
			claims: []claim{
				claimOf(1, ingressFor("old", rule(external, "a.test", pathTo("x")))),
				claimOf(2, withTLS(one(), "default", "good", "a.test")),
			},
			owners:   map[string]string{"a.test": "old", "b.test": "one"},
			problems: map[string]string{"one": "already belongs to"},
		},
		"no HTTPS listener": {
			claims: []claim{claimOf(1, withTLS(one(), "default", "good", "a.test"))}, noTLS: true,
			owners:   map[string]string{"a.test": "one", "b.test": "one"},
			problems: map[string]string{"one": "no HTTPS listener"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := build(tc.claims, certMap{"default/good": {}, "other/good": {}}, !tc.noTLS)
			owners := map[string]string{}
			for host, vh := range table.external {
				owners[host] = vh.program.key.Name
			}
			if len(owners) != len(tc.owners) || cmp.Diff(tc.owners, owners) != "" && len(owners) > 0 {
				t.Errorf("owners: %v, want %v", owners, tc.owners)
			}
			if got := sortedKeys(table.certs); !slices.Equal(got, tc.certs) {
				t.Errorf("certificates: %v, want %v", got, tc.certs)
			}
			for key, state := range table.ingresses {
				want := tc.problems[key.Name]
				if want == "" && len(state.problems) > 0 {
					t.Errorf("%s: unexpected %v", key, state.problems)
				}
				if want != "" && (len(state.problems) == 0 || !strings.Contains(state.problems[0].message, want)) {
					t.Errorf("%s: problems %v, want %s", key, state.problems, want)
				}
			}
		})
	}
}

func TestWaitingForNamesEveryService(t *testing.T) {
	p := compile(ingressFor("x", rule(external, "x.test", pathTo("a", "b"))), "cluster.local", unresolved())
	got := (&ingressState{program: p}).waitingFor()
	if want := "Service default/a has no ready endpoints; Service default/b has no ready endpoints"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestRuleWithoutHostCatchesTheRest(t *testing.T) {
	ing := ingressFor("x", rule(external, "", pathTo("any")), rule(external, "a.test", pathTo("a")))
	table := build([]claim{{1, compile(ing, "cluster.local", unresolved())}}, nil, false)
	for host, want := range map[string]string{"a.test": "a", "b.test": "any", "": "any"} {
		rt := table.lookup(external, host).match(httptest.NewRequest("GET", "/", nil))
		if got := rt.choose().backend.key.service; got != want {
			t.Errorf("host %q goes to %s, want %s", host, got, want)
		}
	}
	if table.lookup(local, "b.test") != nil {
		t.Error("an external rule must not serve the cluster-local listener")
	}
}
