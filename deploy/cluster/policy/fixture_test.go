package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var (
	podRange = netip.MustParsePrefix("198.18.0.0/16")
	nodeAddr = netip.MustParseAddr("198.18.0.1")
)

func namespace(name string, labels ...string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: pairs(labels)}}
}

// aPod makes a running pod from "namespace/name", its address and labels "key=value".
func aPod(object, addr string, labels ...string) *corev1.Pod {
	ns, name, _ := strings.Cut(object, "/")
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: pairs(labels), CreationTimestamp: metav1.Unix(1000, 0)},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addr},
	}
}

func with(p *corev1.Pod, change ...func(*corev1.Pod)) *corev1.Pod {
	for _, c := range change {
		c(p)
	}
	return p
}

func port(name string, number int32, protocol corev1.Protocol) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
			Ports: []corev1.ContainerPort{{Name: name, ContainerPort: number, Protocol: protocol}},
		})
	}
}

func phase(ph corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = ph }
}

func created(second int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(time.Unix(second, 0)) }
}

func hostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

// aPolicy makes a policy from "namespace/name" and its spec in YAML.
func aPolicy(t *testing.T, object, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	ns, name, _ := strings.Cut(object, "/")
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return p
}

func pairs(labels []string) map[string]string {
	out := map[string]string{}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		out[k] = v
	}
	return out
}

// permits judges a new connection by the ruleset as the rendered chains do.
func (rs ruleset) permits(src, dst netip.Addr, protocol corev1.Protocol, number uint16) bool {
	if src == dst {
		return true
	}
	dns := protocol != corev1.ProtocolSCTP && number == 53
	out := slices.Contains(rs.nodes, dst) && dns || rs.egress.permits(src, dst, dst, protocol, number)
	in := slices.Contains(rs.nodes, src) || rs.ingress.permits(dst, src, dst, protocol, number)
	return out && in
}

func (d direction) permits(subject, peer, dst netip.Addr, protocol corev1.Protocol, number uint16) bool {
	profile, isolated := d.isolated[subject]
	if !isolated {
		return true
	}
	return slices.ContainsFunc(d.profiles[profile], func(policy string) bool {
		return slices.ContainsFunc(d.policies[policy], func(a allow) bool {
			return (a.anyPeer || contains(a.peers, peer)) && (a.anyPort ||
				slices.Contains(a.named, endpoint{dst, protocol, number}) ||
				slices.ContainsFunc(a.ports, func(r portRange) bool {
					return r.protocol == protocol && r.first <= number && number <= r.last
				}))
		})
	})
}
