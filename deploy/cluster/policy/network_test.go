package policy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// network is a network namespace with a bridge as the cluster daemon makes it,
// and pods on it. All namespaces are anonymous: when the process ends, however
// it ends, the kernel frees them with all they hold.
type network struct {
	node netns.NsHandle
	pods map[string]netns.NsHandle
}

func newNetwork(t *testing.T, pods map[string][]string) *network {
	t.Helper()
	n := &network{node: newNamespace(t), pods: map[string]netns.NsHandle{}}
	must(t, inside(n.node, func() error {
		for _, sysctl := range []string{
			"net/bridge/bridge-nf-call-iptables=1", "net/bridge/bridge-nf-call-ip6tables=1", "net/ipv4/ip_forward=1",
			"net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/default/send_redirects=0",
		} {
			name, value, _ := strings.Cut(sysctl, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	h := handle(t, n.node)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(t, h.LinkAdd(bridge))
	up(t, h, "lo")
	up(t, h, "br0", "198.18.0.1/16")
	must(t, h.RouteAdd(&netlink.Route{LinkIndex: index(t, h, "br0"), Dst: cidr(t, "203.0.113.0/24")}))
	i := 0
	for name, addrs := range pods {
		ns := newNamespace(t)
		n.pods[name] = ns
		link := fmt.Sprintf("veth%d", i)
		i++
		must(t, h.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: link, MasterIndex: index(t, h, "br0")},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns),
		}))
		// As the CNI plugin does: a pod may reach itself through a service.
		must(t, h.LinkSetHairpin(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index(t, h, link)}}, true))
		up(t, h, link)
		inner := handle(t, ns)
		up(t, inner, "lo")
		up(t, inner, "eth0", addrs...)
		must(t, inner.RouteAdd(&netlink.Route{LinkIndex: index(t, inner, "eth0"), Gw: net.ParseIP("198.18.0.1")}))
	}
	n.pods["node"] = n.node
	return n
}

func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	made := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine: it is in the new namespace
		ns, err := netns.New()
		if err != nil {
			t.Errorf("make a network namespace (this test needs root): %v", err)
		}
		made <- ns
	}()
	ns := <-made
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// inside runs f on a thread of its own in a namespace.
func inside(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func handle(t *testing.T, ns netns.NsHandle) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(h.Close)
	return h
}

func index(t *testing.T, h *netlink.Handle, name string) int {
	t.Helper()
	link, err := h.LinkByName(name)
	must(t, err)
	return link.Attrs().Index
}

func up(t *testing.T, h *netlink.Handle, name string, addrs ...string) {
	t.Helper()
	link, err := h.LinkByName(name)
	must(t, err)
	for _, addr := range addrs {
		must(t, h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: cidrAddr(t, addr), Mask: cidr(t, addr).Mask}}))
	}
	must(t, h.LinkSetUp(link))
}

func cidr(t *testing.T, s string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	must(t, err)
	return n
}

func cidrAddr(t *testing.T, s string) net.IP {
	t.Helper()
	ip, _, err := net.ParseCIDR(s)
	must(t, err)
	return ip
}

func (n *network) nft(t *testing.T, script string) string {
	t.Helper()
	var out []byte
	must(t, inside(n.node, func() error {
		cmd := exec.CommandContext(t.Context(), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w\n%s", err, out)
		}
		return nil
	}))
	return string(out)
}

// serveTCP accepts connections in a pod and sends back what comes.
func (n *network) serveTCP(t *testing.T, pod string, port int) {
	t.Helper()
	must(t, inside(n.pods[pod], func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b := make([]byte, 64)
					for {
						k, err := c.Read(b)
						if err != nil {
							return
						}
						if _, err := c.Write(b[:k]); err != nil {
							return
						}
					}
				}()
			}
		}()
		return nil
	}))
}

// serveUDP sends back in a pod what comes, when got says so.
func (n *network) serveUDP(t *testing.T, pod string, port int, got func() (answer bool)) {
	t.Helper()
	must(t, inside(n.pods[pod], func() error {
		c, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 64)
			for {
				k, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if got() {
					_, _ = c.WriteTo(b[:k], from)
				}
			}
		}()
		return nil
	}))
}

// dial opens a connection from a pod. UDP succeeds always.
func (n *network) dial(pod, protocol, to string) (c net.Conn, err error) {
	err = inside(n.pods[pod], func() error {
		c, err = net.DialTimeout(protocol+"4", to, 400*time.Millisecond)
		return err
	})
	return c, err
}

// echo tells whether a byte comes back.
func echo(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(400 * time.Millisecond))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1))
	return err == nil
}

func (n *network) reaches(pod, protocol, to string) bool {
	c, err := n.dial(pod, protocol, to)
	if err != nil {
		return false
	}
	defer c.Close()
	return echo(c)
}
