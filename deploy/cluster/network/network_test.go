package network

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// world is a machine in a network namespace of its own, joined to an "outside"
// namespace, so that the tests never touch the real machine's network.
//
//	outside 192.0.2.2 ── 192.0.2.1 machine ── cluster ── pod 100.80.0.99
type world struct {
	t                     *testing.T
	machine, outside, pod string
	instance              instance.Instance
}

const (
	outsideIP = "192.0.2.2"
	machineIP = "192.0.2.1"
	podIP     = "100.80.0.99"
)

func newWorld(t *testing.T, before ...[]string) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make network namespaces: run them as root")
	}
	i := instance.Default()
	i.Name = "kn-test"
	i.PodRange, i.ServiceRange = netip.MustParsePrefix("100.80.0.0/16"), netip.MustParsePrefix("100.81.0.0/16")
	w := &world{t: t, machine: "kn-machine", outside: "kn-outside", pod: "kn-pod", instance: i}
	for _, n := range []string{w.machine, w.outside, w.pod} {
		if err := createNamespace(n); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = netns.DeleteNamed(n) })
	}
	w.run("", "ip", "-n", w.machine, "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", w.outside)
	w.run("", "ip", "-n", w.machine, "addr", "add", machineIP+"/24", "dev", "up0")
	w.run("", "ip", "-n", w.machine, "link", "set", "up0", "up")
	w.run("", "ip", "-n", w.outside, "addr", "add", outsideIP+"/24", "dev", "eth0")
	w.run("", "ip", "-n", w.outside, "link", "set", "eth0", "up")
	w.run("", "ip", "-n", w.outside, "route", "add", "100.80.0.0/15", "via", machineIP)
	w.run(w.machine, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	for _, command := range before {
		w.run(w.machine, command...)
	}
	w.in(w.machine, func() error { return Up(i) })
	t.Cleanup(func() { w.in(w.machine, func() error { return Down(i) }) })
	w.run("", "ip", "-n", i.Name, "link", "add", "p0", "type", "veth", "peer", "name", "eth0", "netns", w.pod)
	w.run("", "ip", "-n", i.Name, "link", "set", "p0", "master", Bridge, "up")
	w.run("", "ip", "-n", w.pod, "addr", "add", podIP+"/16", "dev", "eth0")
	w.run("", "ip", "-n", w.pod, "link", "set", "eth0", "up")
	w.run("", "ip", "-n", w.pod, "route", "add", "default", "via", i.BridgeIP().String())
	return w
}

func (w *world) run(ns string, command ...string) {
	w.t.Helper()
	if ns != "" {
		command = append([]string{"ip", "netns", "exec", ns}, command...)
	}
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

func (w *world) in(ns string, f func() error) {
	w.t.Helper()
	if err := Do("/run/netns/"+ns, f); err != nil {
		w.t.Fatal(err)
	}
}

// serve listens in a namespace and answers with the caller's address.
func (w *world) serve(ns, address string) {
	w.t.Helper()
	var l net.Listener
	w.in(ns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, conn.RemoteAddr().(*net.TCPAddr).IP)
			conn.Close()
		}
	}()
}

// ask dials from a namespace and returns the answer.
func (w *world) ask(ns, address string) (answer string, err error) {
	err = Do("/run/netns/"+ns, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		data, err := io.ReadAll(conn)
		answer = string(data)
		return err
	})
	return answer, err
}

func TestPodsReachOutsideByNATAndNobodyReachesPods(t *testing.T) {
	w := newWorld(t)
	w.serve(w.outside, outsideIP+":80")
	w.serve(w.machine, "0.0.0.0:80")
	w.serve(w.pod, podIP+":80")
	if got, err := w.ask(w.pod, outsideIP+":80"); err != nil || got != machineIP {
		t.Errorf("the pod's call outside came from %q (%v), want the machine's address %s", got, err, machineIP)
	}
	if got, err := w.ask(w.machine, podIP+":80"); err != nil || got != w.instance.HostIP().String() {
		t.Errorf("the machine's call to the pod came from %q (%v), want %s", got, err, w.instance.HostIP())
	}
	if _, err := w.ask(w.outside, podIP+":80"); err == nil {
		t.Error("somebody outside reached a pod through the machine")
	}
	for _, address := range []string{w.instance.HostIP().String(), machineIP} {
		if _, err := w.ask(w.pod, address+":80"); err == nil {
			t.Errorf("a pod reached a service of the machine at %s", address)
		}
	}
}

func TestUnusedClusterAddressesDoNotLeaveByTheUplink(t *testing.T) {
	w := newWorld(t)
	w.run("", "ip", "-n", w.machine, "route", "add", "default", "via", outsideIP)
	for _, address := range []string{"100.80.9.9", "100.81.9.9"} {
		w.in(w.machine, func() error {
			routes, err := netlink.RouteGet(net.ParseIP(address))
			if err != nil {
				return err
			}
			l, err := netlink.LinkByIndex(routes[0].LinkIndex)
			if err == nil && l.Attrs().Name != w.instance.HostDevice() {
				err = fmt.Errorf("%s would leave by %s", address, l.Attrs().Name)
			}
			return err
		})
	}
}

func TestPodsGetOutBesideAnEngineThatDropsForwarding(t *testing.T) {
	for name, before := range map[string][][]string{
		"policy drop":      {{"iptables", "-P", "FORWARD", "DROP"}},
		"with DOCKER-USER": {{"iptables", "-P", "FORWARD", "DROP"}, {"iptables", "-N", "DOCKER-USER"}, {"iptables", "-I", "FORWARD", "-j", "DOCKER-USER"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, before...)
			w.serve(w.outside, outsideIP+":80")
			if _, err := w.ask(w.pod, outsideIP+":80"); err != nil {
				t.Errorf("the pod does not get out: %v", err)
			}
			w.in(w.machine, func() error { return Down(w.instance) })
			w.in(w.machine, func() error {
				out, err := exec.Command("nft", "list", "ruleset").Output()
				if bytes.Contains(out, []byte(w.instance.Name)) {
					err = errors.Join(err, fmt.Errorf("rules are left:\n%s", out))
				}
				return err
			})
		})
	}
}

func TestUpAndDownCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	w.in(w.machine, func() error { return Up(w.instance) })
	w.in(w.machine, func() error { return Down(w.instance) })
	w.in(w.machine, func() error { return Down(w.instance) })
	if Exists(w.instance) {
		t.Error("the namespace is left")
	}
}

func TestConflictNamesTheFlag(t *testing.T) {
	w := newWorld(t)
	w.in(w.machine, func() error {
		if err := Conflict(w.instance); err != nil {
			return fmt.Errorf("the instance's own routes are a conflict: %w", err)
		}
		other := w.instance
		other.Name, other.ServiceRange = "other", netip.MustParsePrefix("192.0.2.0/24")
		other.PodRange = netip.MustParsePrefix("100.90.0.0/16")
		if err := Conflict(other); err == nil || !strings.Contains(err.Error(), "--service-cidr") {
			return fmt.Errorf("conflict is %v, want one that names --service-cidr", err)
		}
		return nil
	})
}
