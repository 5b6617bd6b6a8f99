package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"
)

// The base chains run before those of other tables at priority filter. An accept
// ends only the chain in which it stands, so a packet between two isolated pods
// passes both: one for leaving, one for arriving.
const (
	forwardEgress  = "forward-egress"
	forwardIngress = "forward-ingress"
	inputEgress    = "input-egress"

	egressPriority  = knftables.FilterPriority + "-20"
	ingressPriority = knftables.FilterPriority + "-10"
)

// content is a ruleset as nftables objects.
//
// Everything but the base chains is named by its content and never changed.
// This is what makes a replacement safe: a packet that is in the old rules while
// the kernel switches to the new ones still finds the old sets and chains whole.
type content struct {
	objects []object // what is referred to stands before what refers to it
	base    []baseChain
	named   map[string]bool // the objects by name
}

// object is a chain, set or map with its rules or elements.
type object struct {
	kind kind
	name string
	adds []knftables.Object
}

type kind string

const (
	chainKind kind = "chain"
	setKind   kind = "set"
	mapKind   kind = "map"
)

type baseChain struct {
	chain knftables.Chain
	rules []string
}

// render writes a ruleset as nftables objects.
func render(rs ruleset) *content {
	c := &content{named: map[string]bool{}}
	nodes := c.set("nodes", "ipv4_addr", nil, addrElements(rs.nodes))
	self := c.set("self", "ipv4_addr . ipv4_addr", nil, selfElements(rs))
	egress := c.direction(rs.egress, "out", "daddr")
	ingress := c.direction(rs.ingress, "in", "saddr")

	c.addBase(forwardEgress, knftables.ForwardHook, egressPriority,
		"ct state established,related accept",
		// Pods have no IPv6 addresses but link-local ones, which would go around
		// every rule below.
		"meta nfproto ipv6 drop",
		"ip saddr . ip daddr @"+self+" accept",
		"ip saddr vmap @"+egress)
	c.addBase(forwardIngress, knftables.ForwardHook, ingressPriority,
		"ct state established,related accept",
		"ip saddr @"+nodes+" accept",
		"ip saddr . ip daddr @"+self+" accept",
		"ip daddr vmap @"+ingress)
	c.addBase(inputEgress, knftables.InputHook, egressPriority,
		"ct state established,related accept",
		`iifname "lo" accept`,
		"meta nfproto ipv6 meta l4proto { tcp, udp, sctp } drop",
		"ip daddr @"+nodes+" meta l4proto { tcp, udp } th dport 53 accept",
		"ip saddr vmap @"+egress)
	return c
}

// id is equal for equal contents only: the base chains name all the rest by its
// content.
func (c *content) id() string {
	var all []string
	for _, b := range c.base {
		all = append(all, b.rules...)
	}
	return strings.Join(all, "\n")
}

// direction writes one half: the policies, the profiles that end in a drop when
// no policy accepts, and the map from pods to profiles, whose name it returns.
func (c *content) direction(d direction, suffix, peerField string) string {
	policies := map[string]string{}
	for _, policy := range slices.Sorted(maps.Keys(d.policies)) {
		var rules []string
		for _, a := range d.policies[policy] {
			rules = append(rules, c.allow(a, peerField)...)
		}
		readable := policy[:min(len(policy), 100)]
		policies[policy] = c.chain("allow-"+suffix+"-"+short(policy, rules)+"-"+readable, rules)
	}
	profiles := map[string]string{}
	for _, profile := range slices.Sorted(maps.Keys(d.profiles)) {
		var rules []string
		for _, policy := range d.profiles[profile] {
			rules = append(rules, "jump "+policies[policy])
		}
		rules = append(rules, "drop")
		profiles[profile] = c.chain("pods-"+suffix+"-"+short("", rules), rules)
	}
	var elements []knftables.Element
	var parts []string
	for _, addr := range slices.SortedFunc(maps.Keys(d.isolated), netip.Addr.Compare) {
		e := knftables.Element{Key: []string{addr.String()}, Value: []string{"jump " + profiles[d.isolated[addr]]}}
		elements = append(elements, e)
		parts = append(parts, e.Key[0]+" "+e.Value[0])
	}
	return c.verdicts("isolated-"+suffix+"-"+short("", parts), elements)
}

// allow returns the rules of a policy's chain for one of its rules.
func (c *content) allow(a allow, peerField string) []string {
	peer := ""
	if !a.anyPeer {
		if len(a.peers) == 0 {
			return nil
		}
		peer = "ip " + peerField + " @" + c.set("peers", "ipv4_addr", []knftables.SetFlag{knftables.IntervalFlag}, rangeElements(a.peers)) + " "
	}
	if a.anyPort {
		return []string{peer + "accept"}
	}
	var rules []string
	for _, protocol := range protocols {
		if match := portMatch(protocol, a.ports); match != "" {
			rules = append(rules, peer+match+" accept")
		}
	}
	if len(a.named) > 0 {
		name := c.set("ports", "ipv4_addr . inet_proto . inet_service", nil, namedElements(a.named))
		rules = append(rules, peer+"ip daddr . meta l4proto . th dport @"+name+" accept")
	}
	return rules
}

func portMatch(protocol corev1.Protocol, ranges []portRange) string {
	var ports []string
	for _, r := range ranges {
		switch {
		case r.protocol != protocol:
		case r.first == 0 && r.last == lastPort:
			return "meta l4proto " + nftProtocol(protocol)
		case r.first == r.last:
			ports = append(ports, fmt.Sprint(r.first))
		default:
			ports = append(ports, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	if len(ports) == 0 {
		return ""
	}
	return fmt.Sprintf("meta l4proto %s th dport { %s }", nftProtocol(protocol), strings.Join(ports, ", "))
}

func nftProtocol(p corev1.Protocol) string { return strings.ToLower(string(p)) }

// add takes an object once: equal names mean equal content.
func (c *content) add(o object) {
	if !c.named[o.name] {
		c.named[o.name] = true
		c.objects = append(c.objects, o)
	}
}

// set adds a set named by its content and returns the name.
func (c *content) set(prefix, elementType string, flags []knftables.SetFlag, keys [][]string) string {
	parts := make([]string, 0, len(keys))
	for _, key := range keys {
		parts = append(parts, strings.Join(key, " . "))
	}
	name := prefix + "-" + short(elementType, parts)
	o := object{kind: setKind, name: name, adds: []knftables.Object{&knftables.Set{Name: name, Type: elementType, Flags: flags}}}
	for _, key := range keys {
		o.adds = append(o.adds, &knftables.Element{Set: name, Key: key})
	}
	c.add(o)
	return name
}

func (c *content) chain(name string, rules []string) string {
	o := object{kind: chainKind, name: name, adds: []knftables.Object{&knftables.Chain{Name: name}}}
	for _, rule := range rules {
		o.adds = append(o.adds, &knftables.Rule{Chain: name, Rule: rule})
	}
	c.add(o)
	return name
}

func (c *content) verdicts(name string, elements []knftables.Element) string {
	o := object{kind: mapKind, name: name, adds: []knftables.Object{&knftables.Map{Name: name, Type: "ipv4_addr : verdict"}}}
	for _, e := range elements {
		e.Map = name
		o.adds = append(o.adds, &e)
	}
	c.add(o)
	return name
}

func (c *content) addBase(name string, hook knftables.BaseChainHook, priority knftables.BaseChainPriority, rules ...string) {
	c.base = append(c.base, baseChain{rules: rules, chain: knftables.Chain{
		Name: name, Type: knftables.PtrTo(knftables.FilterType), Hook: &hook, Priority: &priority,
		Policy: knftables.PtrTo(knftables.AcceptPolicy),
	}})
}

// short is long enough that nobody can write a policy whose objects get the
// names of another's.
func short(first string, rest []string) string {
	sum := sha256.Sum256([]byte(first + "\n" + strings.Join(rest, "\n")))
	return hex.EncodeToString(sum[:16])
}

func addrElements(addrs []netip.Addr) [][]string {
	out := make([][]string, 0, len(addrs))
	for _, addr := range addrs {
		out = append(out, []string{addr.String()})
	}
	return out
}

// selfElements pairs each isolated pod with itself: a pod may reach itself
// through a service.
func selfElements(rs ruleset) [][]string {
	isolated := maps.Clone(rs.egress.isolated)
	maps.Copy(isolated, rs.ingress.isolated)
	var out [][]string
	for _, addr := range slices.SortedFunc(maps.Keys(isolated), netip.Addr.Compare) {
		out = append(out, []string{addr.String(), addr.String()})
	}
	return out
}

func rangeElements(ranges []addrRange) [][]string {
	var out [][]string
	for _, r := range ranges {
		key := r.first.String()
		if r.first != r.last {
			key += "-" + r.last.String()
		}
		out = append(out, []string{key})
	}
	return out
}

func namedElements(named []endpoint) [][]string {
	var out [][]string
	for _, e := range named {
		out = append(out, []string{e.addr.String(), nftProtocol(e.protocol), fmt.Sprint(e.port)})
	}
	return out
}
