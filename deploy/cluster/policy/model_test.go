package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// The cluster of the cases below. "outside" is no pod.
var places = map[string]string{
	"a/web":   "198.18.1.1",
	"a/db":    "198.18.1.2",
	"b/web":   "198.18.2.1",
	"b/cli":   "198.18.2.2",
	"c/web":   "198.18.3.1",
	"node":    "198.18.0.1",
	"outside": "203.0.113.7",
	"other":   "203.0.113.77",
}

func cluster() snapshot {
	http := func(number int32) func(*corev1.Pod) { return port("http", number, corev1.ProtocolTCP) }
	return snapshot{
		namespaces: []*corev1.Namespace{namespace("a", "team=a"), namespace("b", "team=b", "kubernetes.io/metadata.name=b"), namespace("c")},
		pods: []*corev1.Pod{
			with(aPod("a/web", places["a/web"], "app=web"), http(8080), port("metrics", 9090, corev1.ProtocolUDP)),
			with(aPod("a/db", places["a/db"], "app=db"), http(9999)),
			with(aPod("b/web", places["b/web"], "app=web"), http(8081)),
			aPod("b/cli", places["b/cli"], "app=cli"),
			aPod("c/web", places["c/web"], "app=web"),
		},
	}
}

// A line of a case is "source > destination protocol/port", preceded by "no"
// when it must be refused.
func TestPoliciesMeanWhatKubernetesSays(t *testing.T) {
	cases := map[string]struct {
		policies map[string]string
		lines    string
	}{
		"without a policy everything is allowed": {lines: `
			a/web > b/web TCP/80
			outside > a/web UDP/53
			a/web > node TCP/6443`},
		"a policy without rules refuses all ingress to its pods only": {
			policies: map[string]string{"a/p": `{podSelector: {matchLabels: {app: web}}}`},
			lines: `
			no b/web > a/web TCP/8080
			no a/db > a/web TCP/8080
			no outside > a/web TCP/8080
			a/web > outside TCP/443
			b/web > a/db TCP/80
			b/cli > b/web TCP/80`},
		"an empty podSelector selects the whole namespace": {
			policies: map[string]string{"a/p": `{podSelector: {}}`},
			lines: `
			no b/web > a/web TCP/8080
			no a/web > a/db TCP/8080
			a/web > b/web TCP/80`},
		"the node always gets in": {
			policies: map[string]string{"a/p": `{podSelector: {}}`},
			lines:    `node > a/web TCP/8080`},
		"a pod always reaches itself": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Ingress, Egress]}`},
			lines:    `a/web > a/web TCP/8080`},
		"one empty ingress rule allows all": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{}]}`},
			lines: `
			b/web > a/web TCP/8080
			outside > a/web SCTP/1`},
		"from with podSelector means the policy's namespace": {
			policies: map[string]string{"a/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`},
			lines: `
			a/web > a/db TCP/5432
			no b/web > a/db TCP/5432
			no node2 > a/db TCP/5432`},
		"from with namespaceSelector means all of its pods": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`},
			lines: `
			b/web > a/web TCP/1
			b/cli > a/web TCP/1
			no c/web > a/web TCP/1
			no a/db > a/web TCP/1`},
		"an empty namespaceSelector means every namespace, but no address outside": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`},
			lines: `
			c/web > a/web TCP/1
			a/db > a/web TCP/1
			no outside > a/web TCP/1`},
		"both selectors in one peer must match": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}]}]}`},
			lines: `
			b/web > a/web TCP/1
			no b/cli > a/web TCP/1
			no c/web > a/web TCP/1`},
		"two peers are alternatives": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: db}}}]}]}`},
			lines: `
			b/cli > a/web TCP/1
			a/db > a/web TCP/1
			no c/web > a/web TCP/1`},
		"matchExpressions count": {
			policies: map[string]string{"a/p": `{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]}`},
			lines: `
			c/web > a/web TCP/1
			no b/web > a/web TCP/1
			b/web > a/db TCP/1`},
		"ipBlock without its exceptions": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26, 203.0.113.0/30]}}]}]}`},
			lines: `
			outside > a/web TCP/1
			no other > a/web TCP/1
			no b/web > a/web TCP/1`},
		"an exception of one block is no exception of another": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26]}}, {ipBlock: {cidr: 203.0.113.77/32}}]}]}`},
			lines:    `other > a/web TCP/1`},
		"an ipBlock of everything": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`},
			lines: `
			a/web > outside TCP/1
			a/web > b/web TCP/1
			a/web > node TCP/6443`},
		"an IPv6 block allows no IPv4 address": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "::/0"}}]}]}`},
			lines:    `no outside > a/web TCP/1`},
		"ports without a protocol are TCP": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{port: 80}]}]}`},
			lines: `
			b/web > a/web TCP/80
			no b/web > a/web UDP/80
			no b/web > a/web TCP/81`},
		"a protocol without a port is all its ports": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}`},
			lines: `
			b/web > a/web UDP/1
			b/web > a/web UDP/65535
			no b/web > a/web TCP/1`},
		"endPort includes both ends": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8010}, {port: 8011, endPort: 8020}, {protocol: SCTP, port: 7}]}]}`},
			lines: `
			b/web > a/web TCP/8000
			b/web > a/web TCP/8011
			b/web > a/web TCP/8020
			no b/web > a/web TCP/7999
			no b/web > a/web TCP/8021
			b/web > a/web SCTP/7
			no b/web > a/web TCP/7`},
		"a peer and a port of different rules do not mix": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 80}]}, {from: [{podSelector: {}}], ports: [{port: 81}]}]}`},
			lines: `
			b/web > a/web TCP/80
			no b/web > a/web TCP/81
			a/db > a/web TCP/81
			no a/db > a/web TCP/80`},
		"a named port of ingress is each selected pod's own": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`},
			lines: `
			b/web > a/web TCP/8080
			no b/web > a/web TCP/9999
			b/web > a/db TCP/9999
			no b/web > a/db TCP/8080`},
		"a named port must have the protocol": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`},
			lines: `
			no b/web > a/web UDP/9090
			no b/web > a/web TCP/9090`},
		"a named port with the right protocol": {
			policies: map[string]string{"a/p": `{podSelector: {}, ingress: [{ports: [{port: metrics, protocol: UDP}]}]}`},
			lines:    `b/web > a/web UDP/9090`},
		"a named port of egress is each peer's own": {
			policies: map[string]string{"b/p": `{podSelector: {matchLabels: {app: cli}}, egress: [{to: [{namespaceSelector: {matchLabels: {team: a}}}], ports: [{port: http}]}]}`, "b/q": `{podSelector: {matchLabels: {app: cli}}, policyTypes: [Egress]}`},
			lines: `
			b/cli > a/web TCP/8080
			b/cli > a/db TCP/9999
			no b/cli > a/db TCP/8080
			no b/cli > b/web TCP/8081`},
		"a named port of egress to everyone is that of any pod": {
			policies: map[string]string{"b/p": `{podSelector: {matchLabels: {app: cli}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`},
			lines: `
			b/cli > a/web TCP/8080
			b/cli > b/web TCP/8081
			no b/cli > outside TCP/8080`},
		"without policyTypes, egress rules isolate both ways": {
			policies: map[string]string{"a/p": `{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}`},
			lines: `
			no b/web > a/web TCP/1
			no a/web > b/web TCP/1
			no a/web > a/db TCP/1`},
		"policyTypes Egress leaves ingress free": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Egress]}`},
			lines: `
			b/web > a/web TCP/1
			no a/web > b/web TCP/1
			no a/web > outside TCP/443`},
		"policyTypes Ingress ignores egress rules": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Ingress], egress: [{to: [{podSelector: {}}]}]}`},
			lines:    `a/web > outside TCP/443`},
		"egress to the node needs a rule, DNS does not": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}`},
			lines: `
			no a/web > node TCP/6443
			a/web > node UDP/53
			a/web > node TCP/53
			no a/web > outside UDP/53
			b/web > node TCP/6443`},
		"egress to the node by ipBlock": {
			policies: map[string]string{"a/p": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.18.0.1/32}}], ports: [{port: 6443}]}]}`},
			lines: `
			a/web > node TCP/6443
			no a/web > node TCP/5000`},
		"both ends must allow": {
			policies: map[string]string{
				"a/out": `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`,
				"b/in":  `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: web}}}]}]}`,
			},
			lines: `
			a/web > b/web TCP/1
			no a/db > b/web TCP/1
			a/db > b/cli TCP/1
			no a/web > c/web TCP/1
			no c/web > b/web TCP/1`},
		"policies add up": {
			policies: map[string]string{
				"a/none": `{podSelector: {}}`,
				"a/b":    `{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`,
				"a/c":    `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.7/32}}], ports: [{port: 80}]}]}`,
			},
			lines: `
			b/web > a/web TCP/1
			no b/web > a/db TCP/1
			outside > a/web TCP/80
			outside > a/db TCP/80
			no outside > a/db TCP/81
			no c/web > a/web TCP/1`},
		"a policy that selects nobody changes nothing": {
			policies: map[string]string{"a/p": `{podSelector: {matchLabels: {app: none}}}`},
			lines:    `b/web > a/web TCP/1`},
	}
	places["node2"] = "198.18.0.2" // an address on the bridge that is no pod and no node
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			s := cluster()
			for object, spec := range c.policies {
				s.policies = append(s.policies, aPolicy(t, object, spec))
			}
			rs := compute(s, []netip.Addr{nodeAddr}, podRange)
			for line := range strings.Lines(strings.TrimSpace(c.lines)) {
				check(t, rs, strings.TrimSpace(line))
			}
		})
	}
}

func check(t *testing.T, rs ruleset, line string) {
	t.Helper()
	rest, refused := strings.CutPrefix(line, "no ")
	var src, dst, connection string
	if _, err := fmt.Sscanf(rest, "%s > %s %s", &src, &dst, &connection); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	protocol, digits, _ := strings.Cut(connection, "/")
	var number uint16
	if _, err := fmt.Sscan(digits, &number); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if rs.permits(netip.MustParseAddr(places[src]), netip.MustParseAddr(places[dst]), corev1.Protocol(protocol), number) == refused {
		t.Errorf("got the contrary of: %s", line)
	}
}

func TestOnlyPodsThatHoldAnAddressCount(t *testing.T) {
	const addr = "198.18.9.9"
	cases := map[string]struct {
		pods []*corev1.Pod
		want bool // isolated by the policy for app=it, and a peer of the policy for app=dest
	}{
		"a running pod":                        {[]*corev1.Pod{aPod("a/x", addr, "app=it")}, true},
		"a pending pod with an address":        {[]*corev1.Pod{with(aPod("a/x", addr, "app=it"), phase(corev1.PodPending))}, true},
		"a succeeded pod":                      {[]*corev1.Pod{with(aPod("a/x", addr, "app=it"), phase(corev1.PodSucceeded))}, false},
		"a failed pod":                         {[]*corev1.Pod{with(aPod("a/x", addr, "app=it"), phase(corev1.PodFailed))}, false},
		"a pod in the host's network":          {[]*corev1.Pod{with(aPod("a/x", addr, "app=it"), hostNetwork)}, false},
		"a pod without an address":             {[]*corev1.Pod{aPod("a/x", "", "app=it")}, false},
		"a pod outside of the range":           {[]*corev1.Pod{aPod("a/x", "10.0.0.1", "app=it")}, false},
		"a newer pod holds the address":        {[]*corev1.Pod{aPod("a/x", addr, "app=it"), with(aPod("a/n", addr), created(2000))}, false},
		"an older pod held the address":        {[]*corev1.Pod{with(aPod("a/x", addr, "app=it"), created(2000)), aPod("a/n", addr)}, true},
		"a completed pod held the address":     {[]*corev1.Pod{aPod("a/x", addr, "app=it"), with(aPod("a/n", addr), created(2000), phase(corev1.PodSucceeded))}, true},
		"the address is one of several it has": {[]*corev1.Pod{with(aPod("a/x", "", "app=it"), func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "fd00::1"}, {IP: addr}} })}, true},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			s := snapshot{namespaces: []*corev1.Namespace{namespace("a")}, pods: append(c.pods, aPod("a/y", "198.18.9.1", "app=dest"))}
			s.policies = []*networkingv1.NetworkPolicy{
				aPolicy(t, "a/x", `{podSelector: {matchLabels: {app: it}}}`),
				aPolicy(t, "a/y", `{podSelector: {matchLabels: {app: dest}}, ingress: [{from: [{podSelector: {matchLabels: {app: it}}}]}]}`),
			}
			rs := compute(s, []netip.Addr{nodeAddr}, podRange)
			it, y, stranger := netip.MustParseAddr(addr), netip.MustParseAddr("198.18.9.1"), netip.MustParseAddr("198.18.9.2")
			if isolated := !rs.permits(stranger, it, corev1.ProtocolTCP, 80); isolated != c.want {
				t.Errorf("isolated: %t", isolated)
			}
			if peer := rs.permits(it, y, corev1.ProtocolTCP, 80); peer != c.want {
				t.Errorf("a peer: %t", peer)
			}
		})
	}
}

// A thousand pods under the same ten policies need one profile, not a thousand.
func TestTheSizeGrowsWithPodsPlusPolicies(t *testing.T) {
	size := func(pods, policies int) int {
		s := snapshot{namespaces: []*corev1.Namespace{namespace("a")}}
		for i := range pods {
			s.pods = append(s.pods, aPod(fmt.Sprintf("a/p%d", i), fmt.Sprintf("198.18.%d.%d", 1+i/250, 1+i%250), "app=it"))
		}
		for i := range policies {
			s.policies = append(s.policies, aPolicy(t, fmt.Sprintf("a/n%d", i), fmt.Sprintf(`{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: %d}]}]}`, 1000+i)))
		}
		return operations(t, compute(s, []netip.Addr{nodeAddr}, podRange))
	}
	if one, ten := size(100, 10), size(1000, 10); ten > 11*one {
		t.Errorf("100 pods: %d operations, 1000 pods: %d", one, ten)
	}
	if got, bound := size(1000, 100), 1000*4+100*4; got > bound {
		t.Errorf("1000 pods under 100 policies: %d operations, more than %d", got, bound)
	}
}
