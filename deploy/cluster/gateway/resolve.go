package gateway

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/networking/pkg/apis/networking"
)

// backendKey names a port of a Service as an Ingress does.
type backendKey struct {
	namespace string
	service   string
	port      intstr.IntOrString
}

func (k backendKey) name() types.NamespacedName {
	return types.NamespacedName{Namespace: k.namespace, Name: k.service}
}

// clusterView answers from the informers' caches.
type clusterView interface {
	// service returns a Service, or nil when there is none.
	service(name types.NamespacedName) *corev1.Service
	// slices returns all EndpointSlices of a Service.
	slices(service types.NamespacedName) []*discoveryv1.EndpointSlice
}

// resolution is where the traffic of a backend goes.
type resolution struct {
	addresses []string // host:port, sorted
	h2c       bool     // HTTP/2 with prior knowledge; HTTP/1.1 otherwise
	fallback  bool     // the addresses are a guess: no endpoint is known to be ready
	reason    string   // why there is no ready endpoint
	// services are all Services that were looked at; a change of any of them,
	// or of its EndpointSlices, calls for a new resolution.
	services []types.NamespacedName
}

// maxAliases bounds a chain of ExternalName Services.
const maxAliases = 4

// resolve finds the addresses of a backend. Pods are dialled directly, so that
// the gateway sees and balances single pods; the ClusterIP is only used where a
// Service has no EndpointSlice at all.
func resolve(view clusterView, key backendKey, clusterDomain string) resolution {
	var res resolution
	name, port := key.name(), key.port
	for range maxAliases {
		res.services = append(res.services, name)
		svc := view.service(name)
		if svc == nil {
			res.reason = fmt.Sprintf("Service %s does not exist", name)
			return res
		}
		sp := findPort(svc, port)
		if sp != nil && len(res.services) == 1 {
			res.h2c = speaksH2C(sp)
		}
		if svc.Spec.Type != corev1.ServiceTypeExternalName {
			res.addPods(view, svc, sp, port)
			return res
		}
		number := port.IntValue()
		if sp != nil {
			number = int(sp.Port)
		}
		target, inCluster := localService(svc.Spec.ExternalName, clusterDomain)
		if !inCluster {
			res.addExternal(name, svc.Spec.ExternalName, number)
			return res
		}
		name, port = target, intstr.FromInt(number)
	}
	res.reason = fmt.Sprintf("Service %s leads through more than %d ExternalName Services; shorten the chain", key.name(), maxAliases)
	return res
}

func (res *resolution) addExternal(name types.NamespacedName, host string, port int) {
	if host == "" || port == 0 {
		res.reason = fmt.Sprintf("Service %s has no external name or no port", name)
		return
	}
	res.addresses = []string{net.JoinHostPort(strings.TrimSuffix(host, "."), strconv.Itoa(port))}
}

func (res *resolution) addPods(view clusterView, svc *corev1.Service, sp *corev1.ServicePort, port intstr.IntOrString) {
	name := types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}
	if sp == nil {
		res.reason = fmt.Sprintf("Service %s has no port %s", name, port.String())
		return
	}
	endpointSlices := view.slices(name)
	if res.addresses = readyAddresses(endpointSlices, sp.Name); len(res.addresses) > 0 {
		return
	}
	res.reason = fmt.Sprintf("Service %s has no ready endpoints", name)
	if len(endpointSlices) == 0 && svc.Spec.ClusterIP != "" && svc.Spec.ClusterIP != corev1.ClusterIPNone {
		res.addresses = []string{net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(int(sp.Port)))}
		res.fallback = true
	}
}

// readyAddresses lists the addresses of ready endpoints or, when none is ready,
// those that still serve while they terminate, as kube-proxy does.
func readyAddresses(endpointSlices []*discoveryv1.EndpointSlice, portName string) []string {
	var ready, draining []string
	for _, slice := range endpointSlices {
		port := slicePort(slice, portName)
		if port == "" || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			address := net.JoinHostPort(e.Addresses[0], port)
			switch c := e.Conditions; {
			case c.Ready == nil || *c.Ready:
				ready = append(ready, address)
			case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
				draining = append(draining, address)
			}
		}
	}
	if len(ready) == 0 {
		ready = draining
	}
	slices.Sort(ready)
	return slices.Compact(ready) // an endpoint may be in two slices for a moment
}

func slicePort(slice *discoveryv1.EndpointSlice, name string) string {
	for _, p := range slice.Ports {
		if p.Port == nil || (p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP) {
			continue
		}
		if p.Name == nil && name == "" || p.Name != nil && *p.Name == name {
			return strconv.Itoa(int(*p.Port))
		}
	}
	return ""
}

func findPort(svc *corev1.Service, port intstr.IntOrString) *corev1.ServicePort {
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		if port.Type == intstr.String && sp.Name == port.StrVal || port.Type == intstr.Int && sp.Port == port.IntVal {
			return sp
		}
	}
	return nil
}

// speaksH2C follows Knative's convention for the name of the port and
// Kubernetes' for its appProtocol.
func speaksH2C(sp *corev1.ServicePort) bool {
	return sp.Name == networking.ServicePortNameH2C || sp.Name == "h2c" ||
		sp.AppProtocol != nil && *sp.AppProtocol == networking.AppProtocolH2C
}

// localService recognises the DNS name of a Service of this cluster, which the
// host's resolver does not know.
func localService(host, clusterDomain string) (types.NamespacedName, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	short, ok := strings.CutSuffix(host, ".svc."+clusterDomain)
	if !ok {
		if short, ok = strings.CutSuffix(host, ".svc"); !ok {
			return types.NamespacedName{}, false
		}
	}
	name, namespace, ok := strings.Cut(short, ".")
	if !ok || strings.Contains(namespace, ".") {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, true
}
