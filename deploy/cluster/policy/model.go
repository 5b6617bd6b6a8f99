package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// snapshot is what the API server says at one moment.
type snapshot struct {
	policies   []*networkingv1.NetworkPolicy
	pods       []*corev1.Pod
	namespaces []*corev1.Namespace
}

// ruleset is what the kernel shall enforce. It is computed from a snapshot
// without any state of its own, so equal snapshots give equal rulesets.
type ruleset struct {
	nodes   []netip.Addr // always allowed in to pods, and answer DNS for them
	egress  direction
	ingress direction
}

// direction holds one half of the rules. Pods to which the same policies apply
// share a profile, so the size grows with the pods plus the policies, not with
// their product.
type direction struct {
	isolated map[netip.Addr]string // pod address → profile; every other pod is free
	profiles map[string][]string   // profile → the policies of which one must allow
	policies map[string][]allow    // policy, as namespace/name → the connections it allows
}

// allow is one rule of a policy: a peer and a port must both match.
type allow struct {
	anyPeer bool
	peers   []addrRange // sources of ingress, destinations of egress
	anyPort bool
	ports   []portRange
	named   []endpoint // a named port, looked up in each pod that can be the destination
}

// endpoint is a port of one pod.
type endpoint struct {
	addr     netip.Addr
	protocol corev1.Protocol
	port     uint16
}

// compute is the meaning of NetworkPolicies
// (https://kubernetes.io/docs/concepts/services-networking/network-policies/)
// for the pods on the bridge.
func compute(s snapshot, nodes []netip.Addr, podRange netip.Prefix) ruleset {
	world := newWorld(s, podRange)
	rs := ruleset{nodes: nodes, egress: newDirection(), ingress: newDirection()}
	ingressOf, egressOf := map[netip.Addr][]string{}, map[netip.Addr][]string{}
	policies := slices.SortedFunc(slices.Values(s.policies), func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, policy := range policies {
		selected := world.inNamespace(policy.Namespace, &policy.Spec.PodSelector)
		if len(selected) == 0 {
			continue
		}
		name := policy.Namespace + "/" + policy.Name
		in, out := directions(policy)
		if in {
			rs.ingress.policies[name] = world.ingress(policy, selected)
			isolate(ingressOf, selected, name)
		}
		if out {
			rs.egress.policies[name] = world.egress(policy)
			isolate(egressOf, selected, name)
		}
	}
	rs.ingress.profile(ingressOf)
	rs.egress.profile(egressOf)
	return rs
}

func newDirection() direction {
	return direction{isolated: map[netip.Addr]string{}, profiles: map[string][]string{}, policies: map[string][]allow{}}
}

// directions applies the defaulting of policyTypes: without any, ingress is
// meant always and egress when it has rules.
func directions(p *networkingv1.NetworkPolicy) (ingress, egress bool) {
	if len(p.Spec.PolicyTypes) == 0 {
		return true, len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress),
		slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

func isolate(of map[netip.Addr][]string, pods []pod, policy string) {
	for _, p := range pods {
		of[p.addr] = append(of[p.addr], policy)
	}
}

func (d *direction) profile(policiesOf map[netip.Addr][]string) {
	for addr, policies := range policiesOf {
		name := strings.Join(policies, " ")
		d.isolated[addr] = name
		d.profiles[name] = policies
	}
}

// ingress returns what a policy allows in to the pods it selects. A named port
// is looked up in the selected pods.
func (w *world) ingress(policy *networkingv1.NetworkPolicy, selected []pod) []allow {
	var out []allow
	for _, rule := range policy.Spec.Ingress {
		a := allow{}
		a.anyPeer, a.peers = w.peers(policy.Namespace, rule.From)
		a.setPorts(rule.Ports, selected)
		out = append(out, a)
	}
	return out
}

// egress returns what a policy allows out of the pods it selects. A named port
// is looked up in the pods that are peers.
func (w *world) egress(policy *networkingv1.NetworkPolicy) []allow {
	var out []allow
	for _, rule := range policy.Spec.Egress {
		a := allow{}
		a.anyPeer, a.peers = w.peers(policy.Namespace, rule.To)
		destinations := w.pods
		if !a.anyPeer {
			destinations = slices.DeleteFunc(slices.Clone(w.pods), func(p pod) bool { return !contains(a.peers, p.addr) })
		}
		a.setPorts(rule.Ports, destinations)
		out = append(out, a)
	}
	return out
}
