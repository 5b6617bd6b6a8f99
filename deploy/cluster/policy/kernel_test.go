package policy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/vishvananda/netns"
)

// The pods of the tests with a real kernel. ext is no pod of the cluster: it
// stands for addresses outside.
const (
	addrA, addrB, addrC = "198.18.1.1", "198.18.1.2", "198.18.1.3"
	extNear, extFar     = "203.0.113.10", "203.0.113.200"
	serviceOfB          = "198.19.0.10"
	table               = "knit-policy-test"
)

// bench is a network with pods, an API server in memory and an enforcer.
type bench struct {
	*network
	kube    *fake.Clientset
	watches atomic.Int32
	stop    func()
}

func newBench(t *testing.T, objects ...k8sruntime.Object) *bench {
	t.Helper()
	b := &bench{network: newNetwork(t, map[string][]string{
		"a": {addrA + "/16"}, "b": {addrB + "/16"}, "c": {addrC + "/16"},
		"ext": {"198.18.200.1/16", extNear + "/24", extFar + "/24"},
	})}
	for _, pod := range []string{"a", "b", "c", "ext"} {
		b.serveTCP(t, pod, 8080)
		b.serveTCP(t, pod, 9090)
	}
	b.serveUDP(t, "b", 5353, func() bool { return true })
	b.serveTCP(t, "node", 6443)
	b.serveUDP(t, "node", 53, func() bool { return true })
	// What kube-proxy would write for a service in front of b.
	b.nft(t, fmt.Sprintf(`table ip test-proxy {
		chain pre { type nat hook prerouting priority dstnat; ip daddr %[1]s tcp dport 80 dnat to %[2]s:8080; }
		chain post { type nat hook postrouting priority srcnat; ip saddr %[2]s ip daddr %[2]s masquerade; }
	}`, serviceOfB, addrB))

	b.kube = fake.NewClientset(append([]k8sruntime.Object{
		namespace("front", "team=front"), namespace("back"),
		aPod("front/a", addrA, "app=a"), with(aPod("back/b", addrB, "app=b"), port("http", 8080, "TCP")), aPod("back/c", addrC, "app=c"),
	}, objects...)...)
	// The fake forgets what happens between its list and its watch.
	b.kube.PrependWatchReactor("*", func(action clienttesting.Action) (bool, apiwatch.Interface, error) {
		w, err := b.kube.Tracker().Watch(action.GetResource(), action.GetNamespace())
		b.watches.Add(1)
		return true, w, err
	})
	return b
}

// enforce starts an enforcer in the node's namespace and waits until it watches.
func (b *bench) enforce(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	b.watches.Store(0)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(b.node); err != nil {
			done <- err
			return
		}
		e, err := b.enforcer()
		if err == nil {
			err = e.Run(ctx)
		}
		done <- err
	}()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the enforcer ended with %v", err)
		}
	})
	t.Cleanup(b.stop)
	for deadline := time.Now().Add(30 * time.Second); b.watches.Load() < 3; time.Sleep(time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("the enforcer ended with %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the enforcer does not watch")
		}
	}
}

func (b *bench) enforcer() (*Enforcer, error) {
	return New(Options{
		Kube: b.kube, Table: table, NodeAddresses: []netip.Addr{nodeAddr}, PodRange: podRange, Log: slog.New(slog.DiscardHandler),
	})
}

func (b *bench) apply(t *testing.T, object, spec string) {
	t.Helper()
	p := aPolicy(t, object, spec)
	client := b.kube.NetworkingV1().NetworkPolicies(p.Namespace)
	if _, err := client.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		_, err = client.Update(t.Context(), p, metav1.UpdateOptions{})
		must(t, err)
	}
}

// expect waits until every connection is as the lines say:
// "source > protocol address:port", preceded by "no" when it must be refused.
func (b *bench) expect(t *testing.T, lines ...string) {
	t.Helper()
	var wrong []string
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if wrong = b.differences(t, lines); len(wrong) == 0 {
			return
		}
	}
	t.Errorf("got the contrary of:\n%s\nwith\n%s", strings.Join(wrong, "\n"), b.nft(t, "list table inet "+table))
}

func (b *bench) differences(t *testing.T, lines []string) []string {
	t.Helper()
	differs := make([]bool, len(lines))
	var group sync.WaitGroup
	for i, line := range lines {
		rest, refused := strings.CutPrefix(line, "no ")
		var src, protocol, dst string
		if _, err := fmt.Sscanf(rest, "%s > %s %s", &src, &protocol, &dst); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		group.Go(func() { differs[i] = b.reaches(src, protocol, dst) == refused })
	}
	group.Wait()
	var wrong []string
	for i, d := range differs {
		if d {
			wrong = append(wrong, lines[i])
		}
	}
	return wrong
}

func TestKernelEnforcesPolicies(t *testing.T) {
	cases := map[string]struct {
		policies map[string]string
		lines    []string
	}{
		"no policy": {lines: []string{
			"a > tcp " + addrB + ":8080", "a > udp " + addrB + ":5353", "a > tcp " + serviceOfB + ":80", "b > tcp " + serviceOfB + ":80",
			"a > tcp " + extNear + ":8080", "a > tcp 198.18.0.1:6443", "ext > tcp " + addrA + ":8080",
		}},
		"ingress from a namespace to a named port": {
			policies: map[string]string{"back/p": `{podSelector: {matchLabels: {app: b}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: front}}}], ports: [{port: http}]}]}`},
			lines: []string{
				"a > tcp " + addrB + ":8080", "no a > tcp " + addrB + ":9090", "no a > udp " + addrB + ":5353",
				"no c > tcp " + addrB + ":8080", "no ext > tcp " + addrB + ":8080", "node > tcp " + addrB + ":9090",
				"a > tcp " + serviceOfB + ":80", "no c > tcp " + serviceOfB + ":80", "b > tcp " + serviceOfB + ":80",
				"a > tcp " + addrC + ":8080", "b > tcp " + addrC + ":8080", "b > tcp 198.18.0.1:6443",
			},
		},
		"ingress by UDP": {
			policies: map[string]string{"back/p": `{podSelector: {matchLabels: {app: b}}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}], ports: [{port: 5353, protocol: UDP}]}]}`},
			lines:    []string{"a > udp " + addrB + ":5353", "no a > tcp " + addrB + ":8080", "no c > udp " + addrB + ":5353"},
		},
		"egress to pods and DNS only": {
			policies: map[string]string{"front/p": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {}}, podSelector: {matchLabels: {app: b}}}]}]}`},
			lines: []string{
				"a > tcp " + addrB + ":8080", "a > tcp " + addrB + ":9090", "a > udp " + addrB + ":5353", "a > tcp " + serviceOfB + ":80",
				"no a > tcp " + addrC + ":8080", "no a > tcp " + extNear + ":8080", "no a > tcp 198.18.0.1:6443",
				"a > udp 198.18.0.1:53", "c > tcp " + addrA + ":8080", "ext > tcp " + addrA + ":8080", "c > tcp 198.18.0.1:6443",
			},
		},
		"egress to an ipBlock without its exception, and to the API server": {
			policies: map[string]string{"front/p": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}], ports: [{port: 8000, endPort: 8100}]}, {to: [{ipBlock: {cidr: 198.18.0.1/32}}], ports: [{port: 6443}]}]}`},
			lines: []string{
				"a > tcp " + extNear + ":8080", "no a > tcp " + extNear + ":9090", "no a > tcp " + extFar + ":8080",
				"no a > tcp " + addrB + ":8080", "a > tcp 198.18.0.1:6443",
			},
		},
		"ingress from everywhere but an ipBlock": {
			policies: map[string]string{"front/p": `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [198.18.200.0/24]}}]}]}`},
			lines:    []string{"b > tcp " + addrA + ":8080", "no ext > tcp " + addrA + ":8080"},
		},
		"both ends": {
			policies: map[string]string{
				"front/p": `{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}`,
				"back/p":  `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`,
			},
			lines: []string{
				"no a > tcp " + addrB + ":8080", "b > tcp " + addrC + ":8080", "no b > tcp " + addrA + ":8080",
				"a > tcp " + extNear + ":8080", "a > tcp 198.18.0.1:6443",
			},
		},
	}
	b := newBench(t)
	b.enforce(t)
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			for object, spec := range c.policies {
				b.apply(t, object, spec)
			}
			b.expect(t, c.lines...)
			for object := range c.policies {
				ns, name, _ := strings.Cut(object, "/")
				must(t, b.kube.NetworkingV1().NetworkPolicies(ns).Delete(t.Context(), name, metav1.DeleteOptions{}))
			}
		})
	}
	b.expect(t, "a > tcp "+addrB+":9090", "a > tcp "+extFar+":8080") // the last policy is gone
}

func TestKernelFollowsPods(t *testing.T) {
	b := newBench(t)
	b.enforce(t)
	b.apply(t, "back/p", `{podSelector: {matchLabels: {app: b}}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {role: friend}}}]}]}`)
	b.expect(t, "no a > tcp "+addrB+":8080", "no c > tcp "+addrB+":8080")
	label := func(value string) {
		_, err := b.kube.CoreV1().Pods("front").Update(t.Context(), aPod("front/a", addrA, "role="+value), metav1.UpdateOptions{})
		must(t, err)
	}
	label("friend")
	b.expect(t, "a > tcp "+addrB+":8080", "no c > tcp "+addrB+":8080")
	label("foe")
	b.expect(t, "no a > tcp "+addrB+":8080")
	must(t, b.kube.CoreV1().Pods("back").Delete(t.Context(), "b", metav1.DeleteOptions{}))
	b.expect(t, "a > tcp "+addrB+":8080") // the address is no pod's any more
}

func TestKernelKeepsEstablishedConnections(t *testing.T) {
	b := newBench(t)
	b.enforce(t)
	b.expect(t, "a > tcp "+addrB+":8080")
	c, err := b.dial("a", "tcp", addrB+":8080")
	must(t, err)
	defer c.Close()
	if !echo(c) {
		t.Fatal("no answer before the policy")
	}
	b.apply(t, "back/p", `{podSelector: {}, policyTypes: [Ingress, Egress]}`)
	b.expect(t, "no a > tcp "+addrB+":8080")
	if !echo(c) {
		t.Error("the connection of before was cut")
	}
}

// A process that ended, however, leaves the table; the next one does not open it.
func TestKernelFiltersWithoutTheProcess(t *testing.T) {
	b := newBench(t)
	b.enforce(t)
	b.apply(t, "back/p", `{podSelector: {}}`)
	b.expect(t, "no a > tcp "+addrB+":8080")
	before := b.nft(t, "list table inet "+table)
	b.stop()
	b.expect(t, "no a > tcp "+addrB+":8080", "a > tcp "+extNear+":8080")
	b.enforce(t)
	b.expect(t, "no a > tcp "+addrB+":8080", "a > tcp "+extNear+":8080")
	if after := b.nft(t, "list table inet "+table); after != before {
		t.Errorf("the table of the second process differs:\n%s\nwas\n%s", after, before)
	}
	b.stop()
	for range 2 { // the second time there is none
		must(t, inside(b.node, func() error {
			e, err := b.enforcer()
			if err != nil {
				return err
			}
			return e.Remove(t.Context())
		}))
	}
	b.expect(t, "a > tcp "+addrB+":8080")
	if tables := b.nft(t, "list tables"); strings.Contains(tables, table) {
		t.Errorf("still there: %s", tables)
	}
}

// Every packet is a new connection, so a moment without rules would let it in.
func TestReplacingTheTableLetsNothingThrough(t *testing.T) {
	b := newBench(t, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "back", Name: "p"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	})
	var leaked, sent atomic.Int64
	// Never answered, so no packet makes those after it an established connection.
	b.serveUDP(t, "c", 7777, func() bool { leaked.Add(1); return false })
	b.enforce(t)
	b.expect(t, "no a > tcp "+addrB+":8080", "no a > tcp "+addrC+":8080")

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		err := inside(b.pods["a"], func() error {
			for ctx.Err() == nil {
				c, err := net.Dial("udp4", addrC+":7777")
				if err != nil {
					return err
				}
				if _, err := c.Write([]byte("x")); err == nil {
					sent.Add(1)
				}
				c.Close()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	const replacements = 100
	for i := range replacements {
		text := b.nft(t, "list table inet "+table)
		b.apply(t, "front/q", fmt.Sprintf(`{podSelector: {}, policyTypes: [Egress], egress: [{}, {ports: [{port: %d}]}]}`, 1000+i))
		for b.nft(t, "list table inet "+table) == text && t.Context().Err() == nil {
		}
	}
	cancel()
	group.Wait()
	t.Logf("%d packets during %d replacements", sent.Load(), replacements)
	if leaked.Load() > 0 {
		t.Errorf("%d of %d packets came through", leaked.Load(), sent.Load())
	}
	if sent.Load() < 1000 {
		t.Errorf("only %d packets were sent", sent.Load())
	}
}
