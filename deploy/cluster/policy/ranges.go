package policy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// addrRange is the addresses from first to last, both included. All are IPv4.
type addrRange struct{ first, last netip.Addr }

// portRange is the ports from first to last, both included.
type portRange struct {
	protocol    corev1.Protocol
	first, last uint16
}

const lastPort = 65535

// protocols are those that a policy can name, in the order in which they are written.
var protocols = [...]corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}

// block returns the addresses of an ipBlock without its exceptions. The cluster
// has no IPv6, so an IPv6 block has no addresses.
func block(b *networkingv1.IPBlock) []addrRange {
	whole, ok := parseCIDR(b.CIDR)
	if !ok {
		return nil
	}
	out := []addrRange{whole}
	for _, except := range b.Except {
		if hole, ok := parseCIDR(except); ok {
			out = subtract(out, hole)
		}
	}
	return out
}

func parseCIDR(s string) (addrRange, bool) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil || !prefix.Addr().Is4() {
		return addrRange{}, false
	}
	prefix = prefix.Masked()
	last := prefix.Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return addrRange{prefix.Addr(), netip.AddrFrom4(last)}, true
}

func subtract(from []addrRange, hole addrRange) []addrRange {
	var out []addrRange
	for _, r := range from {
		if r.last.Less(hole.first) || hole.last.Less(r.first) {
			out = append(out, r)
			continue
		}
		if r.first.Less(hole.first) {
			out = append(out, addrRange{r.first, hole.first.Prev()})
		}
		if hole.last.Less(r.last) {
			out = append(out, addrRange{hole.last.Next(), r.last})
		}
	}
	return out
}

// merge returns the same addresses as sorted ranges that neither overlap nor
// touch, which is what an nft set with intervals takes.
func merge(ranges []addrRange) []addrRange {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b addrRange) int {
		return cmp.Or(a.first.Compare(b.first), a.last.Compare(b.last))
	})
	var out []addrRange
	for _, r := range sorted {
		if len(out) == 0 {
			out = append(out, r)
			continue
		}
		// Next of 255.255.255.255 is not an address; then nothing can follow.
		before := &out[len(out)-1]
		if next := before.last.Next(); next.IsValid() && next.Less(r.first) {
			out = append(out, r)
		} else if before.last.Less(r.last) {
			before.last = r.last
		}
	}
	return out
}

func contains(sorted []addrRange, addr netip.Addr) bool {
	return slices.ContainsFunc(sorted, func(r addrRange) bool {
		return !addr.Less(r.first) && !r.last.Less(addr)
	})
}

// setPorts resolves the ports of a rule. A rule without ports means all of
// every protocol. A name is looked up in each pod that can be the destination.
func (a *allow) setPorts(ports []networkingv1.NetworkPolicyPort, destinations []pod) {
	a.anyPort = len(ports) == 0
	var numbers []portRange
	for _, p := range ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case p.Port == nil:
			numbers = append(numbers, portRange{protocol, 0, lastPort})
		case p.Port.Type == intstr.String:
			a.named = append(a.named, lookUp(p.Port.StrVal, protocol, destinations)...)
		case p.Port.IntVal < 0 || p.Port.IntVal > lastPort:
			// The API server refuses it; no connection has such a port.
		default:
			r := portRange{protocol, uint16(p.Port.IntVal), uint16(p.Port.IntVal)}
			if p.EndPort != nil {
				r.last = uint16(min(max(*p.EndPort, 0), lastPort))
			}
			if r.first <= r.last {
				numbers = append(numbers, r)
			}
		}
	}
	a.ports = mergePorts(numbers)
	slices.SortFunc(a.named, func(x, y endpoint) int {
		return cmp.Or(x.addr.Compare(y.addr), cmp.Compare(x.protocol, y.protocol), cmp.Compare(x.port, y.port))
	})
	a.named = slices.Compact(a.named)
}

func lookUp(name string, protocol corev1.Protocol, pods []pod) []endpoint {
	var out []endpoint
	for _, p := range pods {
		for _, port := range p.ports {
			if port.Name == name && cmp.Or(port.Protocol, corev1.ProtocolTCP) == protocol {
				out = append(out, endpoint{p.addr, protocol, uint16(port.ContainerPort)})
			}
		}
	}
	return out
}

func mergePorts(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int {
		return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
	})
	var out []portRange
	for _, r := range ranges {
		if n := len(out); n > 0 && out[n-1].protocol == r.protocol && int(r.first) <= int(out[n-1].last)+1 {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}
