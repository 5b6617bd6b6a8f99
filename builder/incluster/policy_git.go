package incluster

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// GitPolicyName is the NetworkPolicy of build pods whose source comes from git.
const GitPolicyName = "builds-git"

// MakeGitPolicy lets pods that clone reach the git servers of the platform that
// have no public address. A pod has one network: the code that such a build runs
// reaches them, too, so ranges should hold nothing but git servers.
func MakeGitPolicy(namespace string, ranges []netip.Prefix) *networkingv1.NetworkPolicy {
	policy := &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: GitPolicyName, Namespace: namespace},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{LabelSource: SourceGit}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		},
	}
	// Without a rule the policy allows nothing more; it is there all the same,
	// so that it takes the place of one that allowed something.
	if len(ranges) > 0 {
		policy.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{
			To:    blocks(ranges),
			Ports: []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP)}},
		}}
	}
	return policy
}
