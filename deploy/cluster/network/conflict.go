package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Conflict reports a route of the machine, other than the instance's own, that
// overlaps the pod or service range, naming the flag to change.
func Conflict(i instance.Instance) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	own := -1
	if l, err := netlink.LinkByName(i.HostDevice()); err == nil {
		own = l.Attrs().Index
	}
	for _, r := range routes {
		dst, ok := prefix(r.Dst)
		if !ok || dst.Bits() == 0 || r.LinkIndex == own {
			continue
		}
		for flag, want := range map[string]netip.Prefix{"--pod-cidr": i.PodRange, "--service-cidr": i.ServiceRange} {
			if want.Overlaps(dst) {
				return fmt.Errorf("address range %s is taken on this machine by the route %s on %s: choose another with %s", want, dst, deviceName(r.LinkIndex), flag)
			}
		}
	}
	return nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(n.String())
	return p, err == nil
}

func deviceName(index int) string {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("device %d", index)
	}
	return l.Attrs().Name
}
