package policy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// world holds what selectors are resolved against.
type world struct {
	pods       []pod                 // by address; one pod an address
	namespaces map[string]labels.Set // name → labels
}

// pod is a pod that is on the bridge now.
type pod struct {
	addr      netip.Addr
	namespace string
	labels    labels.Set
	ports     []corev1.ContainerPort
}

func newWorld(s snapshot, podRange netip.Prefix) *world {
	w := &world{namespaces: map[string]labels.Set{}}
	for _, n := range s.namespaces {
		w.namespaces[n.Name] = n.Labels
	}
	holder := map[netip.Addr]*corev1.Pod{}
	for _, p := range s.pods {
		addr, ok := address(p, podRange)
		if !ok {
			continue
		}
		// An address is given to the next pod before the API forgets the last one.
		if other := holder[addr]; other == nil || newer(p, other) {
			holder[addr] = p
		}
	}
	for addr, p := range holder {
		w.pods = append(w.pods, pod{addr: addr, namespace: p.Namespace, labels: p.Labels, ports: containerPorts(p)})
	}
	slices.SortFunc(w.pods, func(a, b pod) int { return a.addr.Compare(b.addr) })
	return w
}

// address tells the address that a pod holds on the bridge. Pods in the host's
// network have none of their own, and a completed pod has given its address back.
func address(p *corev1.Pod, podRange netip.Prefix) (netip.Addr, bool) {
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return netip.Addr{}, false
	}
	for _, ip := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
		if addr, err := netip.ParseAddr(ip.IP); err == nil && podRange.Contains(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func newer(a, b *corev1.Pod) bool {
	if (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) {
		return a.DeletionTimestamp == nil
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID)) > 0
}

// containerPorts returns the declared ports of what runs as long as the pod does.
func containerPorts(p *corev1.Pod) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for _, c := range p.Spec.Containers {
		out = append(out, c.Ports...)
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, c.Ports...)
		}
	}
	return out
}

// inNamespace returns the pods of a namespace that a selector matches.
func (w *world) inNamespace(namespace string, selector *metav1.LabelSelector) []pod {
	matches := parse(selector)
	var out []pod
	for _, p := range w.pods {
		if p.namespace == namespace && matches.Matches(p.labels) {
			out = append(out, p)
		}
	}
	return out
}

// peers resolves the peers of a rule to addresses. A rule without peers means
// everyone. A pod address that lies in an ipBlock counts as part of it.
func (w *world) peers(namespace string, peers []networkingv1.NetworkPolicyPeer) (everyone bool, ranges []addrRange) {
	if len(peers) == 0 {
		return true, nil
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			ranges = append(ranges, block(peer.IPBlock)...)
			continue
		}
		if peer.PodSelector == nil && peer.NamespaceSelector == nil {
			continue // the API server refuses it; it names nobody
		}
		for _, p := range w.selected(namespace, peer) {
			ranges = append(ranges, addrRange{p.addr, p.addr})
		}
	}
	return false, merge(ranges)
}

func (w *world) selected(namespace string, peer networkingv1.NetworkPolicyPeer) []pod {
	inNamespace := func(name string) bool { return name == namespace }
	if peer.NamespaceSelector != nil {
		selector := parse(peer.NamespaceSelector)
		inNamespace = func(name string) bool {
			set, known := w.namespaces[name]
			return known && selector.Matches(set)
		}
	}
	matches := labels.Everything()
	if peer.PodSelector != nil {
		matches = parse(peer.PodSelector)
	}
	var out []pod
	for _, p := range w.pods {
		if inNamespace(p.namespace) && matches.Matches(p.labels) {
			out = append(out, p)
		}
	}
	return out
}

// parse reads a selector of a policy. One that cannot be read (the API server
// refuses it) selects nothing, so it allows nothing.
func parse(selector *metav1.LabelSelector) labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}
