package incluster

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// PolicyName is the NetworkPolicy of build pods.
const PolicyName = "builds"

// Network is what the policy must know of a cluster.
type Network struct {
	// Registry is host:port. A host that is a name is reached as a public
	// address, or as one of RegistryAddresses.
	Registry string
	// RegistryAddresses are the addresses behind a name.
	RegistryAddresses []netip.Prefix
	// DNS are the addresses of the DNS servers that pods use. When there are
	// none, the pods labelled k8s-app=kube-dns are.
	DNS []netip.Prefix
	// Denied are more addresses that builds must not reach, such as a cluster
	// API with a public address.
	Denied []netip.Prefix
	// Allowed are private ranges that builds may reach, such as those of a
	// company's package index; without what is denied.
	Allowed []netip.Prefix
}

// private4 and private6 are not the internet: networks of offices and
// clusters, the addresses of machines' metadata, translation and multicast.
// IPv4 addresses in IPv6 form never leave a machine and Kubernetes refuses
// them in policies.
var (
	private4 = []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	}
	private6 = []string{
		"::/127", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8",
	}
)

// MakePolicy lets build pods reach DNS, the registry and public addresses
// (where modules and packages come from), and lets nobody reach them.
func MakePolicy(namespace string, n Network) (*networkingv1.NetworkPolicy, error) {
	egress, err := registryRule(n)
	if err != nil {
		return nil, err
	}
	egress = append(egress, dnsRule(n.DNS), publicRule(n.Denied))
	if len(n.Allowed) > 0 {
		rule, err := allowedRule(n.Allowed, n.Denied)
		if err != nil {
			return nil, err
		}
		egress = append(egress, rule)
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName, Namespace: namespace},
		Spec: networkingv1.NetworkPolicySpec{
			// All pods of the namespace: there are no others than builds.
			PodSelector: metav1.LabelSelector{},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Egress:      egress,
		},
	}, nil
}

func registryRule(n Network) ([]networkingv1.NetworkPolicyEgressRule, error) {
	host, portText, err := net.SplitHostPort(n.Registry)
	if err != nil {
		host, portText = n.Registry, "443"
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("the registry %q is not host:port", n.Registry)
	}
	addresses := n.RegistryAddresses
	if address, err := netip.ParseAddr(host); err == nil {
		addresses = append([]netip.Prefix{netip.PrefixFrom(address, address.BitLen())}, addresses...)
	}
	if len(addresses) == 0 {
		return nil, nil
	}
	return []networkingv1.NetworkPolicyEgressRule{{
		To:    blocks(addresses),
		Ports: []networkingv1.NetworkPolicyPort{protocolPort(corev1.ProtocolTCP, int32(port))},
	}}, nil
}

func dnsRule(servers []netip.Prefix) networkingv1.NetworkPolicyEgressRule {
	rule := networkingv1.NetworkPolicyEgressRule{
		To:    blocks(servers),
		Ports: []networkingv1.NetworkPolicyPort{protocolPort(corev1.ProtocolUDP, 53), protocolPort(corev1.ProtocolTCP, 53)},
	}
	if len(servers) == 0 {
		rule.To = []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
		}}
	}
	return rule
}

func publicRule(denied []netip.Prefix) networkingv1.NetworkPolicyEgressRule {
	except4, except6 := append([]string{}, private4...), append([]string{}, private6...)
	for _, prefix := range denied {
		if prefix.Addr().Is4() {
			except4 = append(except4, prefix.Masked().String())
			continue
		}
		except6 = append(except6, prefix.Masked().String())
	}
	return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{
		{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: except4}},
		{IPBlock: &networkingv1.IPBlock{CIDR: "::/0", Except: except6}},
	}}
}

// allowedRule opens ranges without what of the cluster lies in them.
func allowedRule(allowed, denied []netip.Prefix) (networkingv1.NetworkPolicyEgressRule, error) {
	var rule networkingv1.NetworkPolicyEgressRule
	for _, prefix := range allowed {
		block := &networkingv1.IPBlock{CIDR: prefix.Masked().String()}
		for _, closed := range denied {
			if closed.Bits() <= prefix.Bits() && closed.Overlaps(prefix) {
				return rule, fmt.Errorf("build-allowed-cidrs: %s lies in %s, which is the cluster's own and stays closed to builds", prefix, closed)
			}
			if closed.Overlaps(prefix) {
				block.Except = append(block.Except, closed.Masked().String())
			}
		}
		rule.To = append(rule.To, networkingv1.NetworkPolicyPeer{IPBlock: block})
	}
	return rule, nil
}

func blocks(prefixes []netip.Prefix) []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for _, prefix := range prefixes {
		peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: prefix.Masked().String()}})
	}
	return peers
}

func protocolPort(protocol corev1.Protocol, port int32) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: ptr.To(protocol), Port: ptr.To(intstr.FromInt32(port))}
}
