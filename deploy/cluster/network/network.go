// Package network makes the ground that a cluster's packets walk on: a network
// namespace with the pod bridge in it, a veth that joins the bridge to the
// machine, routes on both sides, and one firewall table on the machine.
//
//	machine                                  namespace <name>
//	  <name>0 198.18.0.2/16  ──veth──  host0 ┐
//	  198.19.0.0/16 via 198.18.0.1           ├ cni0 198.18.0.1/16   default via 198.18.0.2
//	  nft table <name>: NAT, filter    pods ─┘ 198.19.0.0/16 dev cni0
//
// Because the machine has routes for both ranges through the veth, no packet
// for a pod or service address can leave by the uplink, and because everything
// else lives in the namespace, removing the namespace removes it.
// The package never touches tables, devices or routes with other names.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Bridge is the name of the pod bridge inside the namespace.
const Bridge = "cni0"

// hostPort is the bridge's end of the veth.
const hostPort = "host0"

// NamespacePath is where the namespace of an instance is mounted.
func NamespacePath(i instance.Instance) string { return "/run/netns/" + i.Name }

// Up makes what is missing. It is idempotent.
func Up(i instance.Instance) error {
	if err := createNamespace(i.Name); err != nil {
		return fmt.Errorf("make network namespace %s: %w", i.Name, err)
	}
	if err := Do(NamespacePath(i), func() error { return inside(i) }); err != nil {
		return fmt.Errorf("set up network namespace %s: %w", i.Name, err)
	}
	if err := link(i); err != nil {
		return fmt.Errorf("join network namespace %s to the machine: %w", i.Name, err)
	}
	if err := Do(NamespacePath(i), func() error { return defaultRoute(i) }); err != nil {
		return fmt.Errorf("route out of network namespace %s: %w", i.Name, err)
	}
	if err := applyHostRules(i); err != nil {
		return err
	}
	return allowForwarding(i)
}

// Down removes everything that Up makes. It is idempotent.
func Down(i instance.Instance) error {
	var errs []error
	if l, err := netlink.LinkByName(i.HostDevice()); err == nil {
		errs = append(errs, netlink.LinkDel(l))
	}
	if droppingChain() != "" {
		disallowForwarding(i)
	}
	errs = append(errs, removeHostRules(i))
	if err := netns.DeleteNamed(i.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, fmt.Errorf("remove network namespace %s: %w", i.Name, err))
	}
	return errors.Join(errs...)
}

// Exists tells whether the namespace of an instance is there.
func Exists(i instance.Instance) bool {
	ns, err := netns.GetFromPath(NamespacePath(i))
	if err != nil {
		return false
	}
	defer ns.Close()
	var st unix.Statfs_t
	return unix.Statfs(NamespacePath(i), &st) == nil && st.Type == unix.NSFS_MAGIC
}

// Do runs f on a thread inside the namespace mounted at path.
func Do(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked: when the goroutine ends the runtime
		// drops it, so that no other goroutine can run in the wrong namespace.
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func createNamespace(name string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, as in Do
		if ns, err := netns.GetFromName(name); err == nil {
			ns.Close()
			done <- nil
			return
		}
		// A file without a mount is left by a reboot.
		_ = os.Remove("/run/netns/" + name)
		ns, err := netns.NewNamed(name)
		if err == nil {
			ns.Close()
		}
		done <- err
	}()
	return <-done
}

func inside(i instance.Instance) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"net/ipv4/ip_forward":                  "1",
		"net/ipv4/conf/all/send_redirects":     "0", // pods leave through a station of their own segment
		"net/ipv4/conf/default/send_redirects": "0",
		"net/bridge/bridge-nf-call-iptables":   "1", // services and policies see bridged packets
		"net/bridge/bridge-nf-call-ip6tables":  "1",
		"net/ipv4/ip_unprivileged_port_start":  "0",
		"net/core/somaxconn":                   "4096",
	} {
		if err := sysctl(key, value); err != nil {
			return err
		}
	}
	bridge, err := netlink.LinkByName(Bridge)
	if err != nil {
		la := netlink.NewLinkAttrs()
		la.Name = Bridge
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}); err != nil {
			return fmt.Errorf("make bridge: %w", err)
		}
		if bridge, err = netlink.LinkByName(Bridge); err != nil {
			return err
		}
	}
	if err := address(bridge, i.BridgeIP(), i.PodRange.Bits()); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: bridge.Attrs().Index, Dst: ipNet(i.ServiceRange), Scope: netlink.SCOPE_LINK})
}

// link makes the veth from the machine into the bridge, with the machine's address and route.
func link(i instance.Instance) error {
	host, err := netlink.LinkByName(i.HostDevice())
	if err != nil {
		if host, err = makeVeth(i); err != nil {
			return err
		}
	}
	if err := address(host, i.HostIP(), i.PodRange.Bits()); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(host); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: host.Attrs().Index, Dst: ipNet(i.ServiceRange), Gw: net.IP(i.BridgeIP().AsSlice()),
	})
}

func makeVeth(i instance.Instance) (netlink.Link, error) {
	ns, err := netns.GetFromPath(NamespacePath(i))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	la := netlink.NewLinkAttrs()
	la.Name = i.HostDevice()
	veth := &netlink.Veth{LinkAttrs: la, PeerName: hostPort, PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make veth %s: %w", la.Name, err)
	}
	err = Do(NamespacePath(i), func() error {
		peer, err := netlink.LinkByName(hostPort)
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(Bridge)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(peer, bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(peer)
	})
	if err != nil {
		return nil, fmt.Errorf("attach %s to the bridge: %w", hostPort, err)
	}
	return netlink.LinkByName(i.HostDevice())
}

func defaultRoute(i instance.Instance) error {
	bridge, err := netlink.LinkByName(Bridge)
	if err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: bridge.Attrs().Index, Gw: net.IP(i.HostIP().AsSlice())})
}

func address(l netlink.Link, ip netip.Addr, bits int) error {
	n := &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, 32)}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: n}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", l.Attrs().Name, n, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

func sysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", key, value, err)
	}
	return nil
}
