package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// view is a clusterView of literals.
type view struct {
	services map[string]*corev1.Service
	slicesOf map[string][]*discoveryv1.EndpointSlice
}

func (v view) service(name types.NamespacedName) *corev1.Service { return v.services[name.String()] }
func (v view) slices(name types.NamespacedName) []*discoveryv1.EndpointSlice {
	return v.slicesOf[name.String()]
}

// pods is a slice of one port; a trailing "!" is not ready, "~" drains.
func pods(portName string, port int32, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
	yes, no := true, false
	for _, a := range addresses {
		e := discoveryv1.Endpoint{}
		switch {
		case strings.HasSuffix(a, "!"):
			e.Conditions.Ready = &no
		case strings.HasSuffix(a, "~"):
			e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		}
		e.Addresses = []string{strings.TrimRight(a, "!~")}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func clusterIP(portName, ip string) *corev1.Service {
	svc := service("s", portName, 80)
	svc.Spec.ClusterIP = ip
	return svc
}

func aliasTo(name, target, portName string, port int32) *corev1.Service {
	svc := service(name, portName, port)
	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, target
	return svc
}

func TestResolve(t *testing.T) {
	h2cByProtocol := clusterIP("web", "10.0.0.1")
	proto := "kubernetes.io/h2c"
	h2cByProtocol.Spec.Ports[0].AppProtocol = &proto
	noPorts := aliasTo("s", "s2.default.svc.cluster.local", "", 0)
	noPorts.Spec.Ports = nil
	other := service("s2", "http2", 80)

	for name, tc := range map[string]struct {
		service, second *corev1.Service
		slices, slices2 []*discoveryv1.EndpointSlice
		port            intstr.IntOrString
		want            []string
		h2c, fallback   bool
		reason          string
	}{
		"pods, not the ClusterIP": {
			service: clusterIP("http", "10.0.0.1"), slices: []*discoveryv1.EndpointSlice{pods("http", 8012, "1.1.1.2", "1.1.1.1")},
			want: []string{"1.1.1.1:8012", "1.1.1.2:8012"},
		},
		"several slices, one pod twice": {
			service: clusterIP("http", "10.0.0.1"),
			slices:  []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1"), pods("http", 80, "1.1.1.1", "1.1.1.3")},
			want:    []string{"1.1.1.1:80", "1.1.1.3:80"},
		},
		"only ready pods": {
			service: clusterIP("http", ""), slices: []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1!", "1.1.1.2", "1.1.1.3~")},
			want: []string{"1.1.1.2:80"},
		},
		"draining pods when nothing else is left": {
			service: clusterIP("http", ""), slices: []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1!", "1.1.1.3~")},
			want: []string{"1.1.1.3:80"},
		},
		"slice of another port": {
			service: clusterIP("http", "10.0.0.1"), slices: []*discoveryv1.EndpointSlice{pods("metrics", 9090, "1.1.1.1")},
			reason: "Service default/s has no ready endpoints",
		},
		"port by name": {
			service: clusterIP("http", ""), slices: []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1")}, port: intstr.FromString("http"),
			want: []string{"1.1.1.1:80"},
		},
		"h2c by port name http2": {
			service: clusterIP("http2", ""), slices: []*discoveryv1.EndpointSlice{pods("http2", 80, "1.1.1.1")}, want: []string{"1.1.1.1:80"}, h2c: true,
		},
		"h2c by port name h2c": {
			service: clusterIP("h2c", ""), slices: []*discoveryv1.EndpointSlice{pods("h2c", 80, "1.1.1.1")}, want: []string{"1.1.1.1:80"}, h2c: true,
		},
		"h2c by appProtocol": {
			service: h2cByProtocol, slices: []*discoveryv1.EndpointSlice{pods("web", 80, "1.1.1.1")}, want: []string{"1.1.1.1:80"}, h2c: true,
		},
		"no slice at all: ClusterIP": {
			service: clusterIP("http", "10.0.0.1"), want: []string{"10.0.0.1:80"}, fallback: true, reason: "Service default/s has no ready endpoints",
		},
		"no slice, headless": {
			service: clusterIP("http", "None"), reason: "Service default/s has no ready endpoints",
		},
		"no Service": {reason: "Service default/s does not exist"},
		"no such port": {
			service: clusterIP("http", "10.0.0.1"), port: intstr.FromInt32(81), reason: "Service default/s has no port 81",
		},
		"external name": {service: aliasTo("s", "example.com", "http", 80), want: []string{"example.com:80"}},
		"external name of a Service of the cluster": {
			service: aliasTo("s", "s2.default.svc.cluster.local", "http", 80), second: other,
			slices2: []*discoveryv1.EndpointSlice{pods("http2", 8081, "1.1.1.9")}, want: []string{"1.1.1.9:8081"},
		},
		"external name speaks as its own port says": {
			service: aliasTo("s", "s2.default.svc", "http2", 80), second: other,
			slices2: []*discoveryv1.EndpointSlice{pods("http2", 8081, "1.1.1.9")}, want: []string{"1.1.1.9:8081"}, h2c: true,
		},
		"external name without ports": {
			service: noPorts, second: other, slices2: []*discoveryv1.EndpointSlice{pods("http2", 8081, "1.1.1.9")}, want: []string{"1.1.1.9:8081"},
		},
		"external names in a circle": {
			service: aliasTo("s", "s2.default.svc", "http", 80), second: aliasTo("s2", "s.default.svc", "http", 80),
			reason: "leads through more than 4 ExternalName Services",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := view{services: map[string]*corev1.Service{}, slicesOf: map[string][]*discoveryv1.EndpointSlice{
				"default/s": tc.slices, "default/s2": tc.slices2,
			}}
			if tc.service != nil {
				v.services["default/s"] = tc.service
			}
			if tc.second != nil {
				v.services["default/s2"] = tc.second
			}
			port := tc.port
			if port == (intstr.IntOrString{}) {
				port = intstr.FromInt32(80)
			}
			got := resolve(v, backendKey{"default", "s", port}, "cluster.local")
			if d := cmp.Diff(tc.want, got.addresses); d != "" {
				t.Errorf("addresses: %s", d)
			}
			if got.h2c != tc.h2c || got.fallback != tc.fallback {
				t.Errorf("h2c %v, fallback %v", got.h2c, got.fallback)
			}
			if (tc.reason == "") != (got.reason == "") || !strings.Contains(got.reason, tc.reason) {
				t.Errorf("reason %q, want %q", got.reason, tc.reason)
			}
		})
	}
}

func TestBackendsFollowTheirServices(t *testing.T) {
	v := view{
		services: map[string]*corev1.Service{
			"default/s":     clusterIP("http", ""),
			"default/alias": aliasTo("alias", "s.default.svc.cluster.local", "http", 80),
		},
		slicesOf: map[string][]*discoveryv1.EndpointSlice{},
	}
	flips := 0
	r := newBackends(v, "cluster.local", map[string]bool{"1.1.1.2:80": true}, func(*backend) { flips++ })
	name := types.NamespacedName{Namespace: "default", Name: "s"}
	port := intstr.FromInt32(80)
	direct, alias := r.get(backendKey{"default", "s", port}), r.get(backendKey{"default", "alias", port})
	if r.get(direct.key) != direct {
		t.Fatal("the same key must give the same backend")
	}
	before := direct.set.Load()

	v.slicesOf["default/s"] = []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1", "1.1.1.2")}
	r.refresh(name)
	select {
	case <-before.replaced:
	default:
		t.Error("waiting requests were not woken")
	}
	a, b := direct.set.Load(), alias.set.Load()
	if len(a.endpoints) != 2 || a.endpoints[0] != b.endpoints[0] {
		t.Fatalf("backends must share endpoints: %v %v", a.endpoints, b.endpoints)
	}
	if a.endpoints[0].self || !a.endpoints[1].self {
		t.Error("our own listener was not recognised")
	}
	if flips != 2 {
		t.Errorf("%d flips, want one for each backend", flips)
	}
	r.refresh(name)
	if direct.set.Load() != a {
		t.Error("a refresh without change must keep the set")
	}

	first := a.endpoints[0]
	first.inflight.Add(1)
	v.slicesOf["default/s"] = []*discoveryv1.EndpointSlice{pods("http", 80, "1.1.1.1")}
	r.refresh(name)
	if got := direct.set.Load().endpoints[0]; got != first {
		t.Error("an endpoint that stays must keep its count")
	}
	r.retain(map[*backend]bool{alias: true})
	if r.get(direct.key) == direct {
		t.Error("a backend without routes was kept")
	}
	r.retain(nil)
	if len(r.byKey)+len(r.byService)+len(r.endpoints) != 0 {
		t.Errorf("left over: %v %v %v", r.byKey, r.byService, r.endpoints)
	}
}

func TestPick(t *testing.T) {
	set := func(n int) *endpointSet {
		s := &endpointSet{}
		for range n {
			s.endpoints = append(s.endpoints, &endpoint{})
		}
		return s
	}
	if set(0).pick() != nil {
		t.Error("nothing to pick from")
	}
	two := set(2)
	two.endpoints[0].inflight.Store(5)
	for range 50 {
		if two.pick() != two.endpoints[1] {
			t.Fatal("of two, the one with fewer requests must be picked")
		}
	}
	many := set(10)
	for i := range 9 {
		many.endpoints[i].eject()
	}
	for range 50 {
		if many.pick() != many.endpoints[9] {
			t.Fatal("the only healthy endpoint must be picked")
		}
	}
	many.endpoints[9].eject()
	if many.pick() == nil {
		t.Error("when all are ejected one must still be tried")
	}
	many.endpoints[3].readmit()
	if many.pick() != many.endpoints[3] {
		t.Error("an endpoint that answered is healthy again")
	}
	spread := set(4)
	seen := map[*endpoint]int{}
	for range 400 {
		e := spread.pick()
		e.inflight.Add(1)
		seen[e]++
	}
	for _, e := range spread.endpoints {
		if seen[e] < 80 || seen[e] > 120 {
			t.Errorf("uneven: %v", seen)
			break
		}
	}
}
