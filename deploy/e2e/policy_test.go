//go:build e2e

package e2e

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNetworkPolicyIsEnforced(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, ns, probePod("server"))
	create(t, ns, probePod("friend"))
	create(t, ns, probePod("stranger"))
	server := running(t, ns, "server").Status.PodIP
	running(t, ns, "friend")
	running(t, ns, "stranger")
	target := server + ":8080"

	reaches := func(want bool, from, why string) {
		t.Helper()
		eventually(t, why, func(ctx context.Context) (bool, error) {
			_, err := execute(ctx, ns, from, "dial", target)
			return (err == nil) == want, nil
		})
	}
	reaches(true, "stranger", "without a policy everybody reaches the server")

	apply := func(p *networkingv1.NetworkPolicy) {
		t.Helper()
		if _, err := kube.NetworkingV1().NetworkPolicies(ns).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := kube.NetworkingV1().NetworkPolicies(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	app := func(name string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	friend := app("friend")
	apply(&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "in"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: app("server"),
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &friend}}}},
	}})
	reaches(false, "stranger", "ingress denies the stranger")
	reaches(true, "friend", "ingress allows the friend")
	remove("in")

	apply(&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "out"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: app("stranger"), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{
			IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{server + "/32"}},
		}}}},
	}})
	reaches(false, "stranger", "egress by ipBlock denies the excepted address")
	reaches(true, "friend", "egress of another pod is not touched")
	remove("out")
	reaches(true, "stranger", "without the policy the stranger reaches the server again")
}

func TestPodSecurityIsAdmitted(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "pod-security.kubernetes.io/enforce=restricted")
	p := probePod("privileged")
	yes := true
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	if _, err := kube.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}); err == nil {
		t.Error("a privileged pod was admitted into a restricted namespace")
	}
}
