package cli

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// buildPolicy fences the build pods of this cluster: besides the private
// ranges that are always closed to them, its own ranges may be public ones.
func buildPolicy(ctx context.Context, c client.Client, p platform) (*networkingv1.NetworkPolicy, error) {
	denied, err := clusterRanges(ctx, c)
	if err != nil {
		return nil, err
	}
	allowed, err := p.allowedRanges()
	if err != nil {
		return nil, err
	}
	network := incluster.Network{Registry: p.Registry, Denied: denied, Allowed: allowed}
	if p.DNS != "" {
		address, err := netip.ParseAddr(p.DNS)
		if err != nil {
			return nil, fmt.Errorf("the cluster's name server %q is no address: %w", p.DNS, err)
		}
		network.DNS = []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
	}
	policy, err := incluster.MakePolicy(buildsNamespace, network)
	if err != nil {
		return nil, fmt.Errorf("fence the build pods: %w", err)
	}
	return policy, nil
}

// allowedRanges are the private ranges with package indexes.
func (p platform) allowedRanges() ([]netip.Prefix, error) {
	settings, err := v1alpha1.ParseBuildSettings(p.Settings)
	if err != nil {
		return nil, err
	}
	return settings.AllowedCIDRs, nil
}

// clusterRanges returns the addresses of the cluster itself: services, pods
// and nodes, as far as the cluster tells.
func clusterRanges(ctx context.Context, c client.Client) ([]netip.Prefix, error) {
	var services networkingv1.ServiceCIDRList
	// Clusters before Kubernetes 1.33 do not publish their service ranges.
	if err := c.List(ctx, &services); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read the cluster's service ranges: %w", err)
	}
	var nodes corev1.NodeList
	if err := c.List(ctx, &nodes); err != nil {
		return nil, fmt.Errorf("read the nodes' pod ranges: %w", err)
	}
	return rangesOf(services.Items, nodes.Items), nil
}

// rangesOf collects what is a range or an address; a node may also have names.
func rangesOf(services []networkingv1.ServiceCIDR, nodes []corev1.Node) []netip.Prefix {
	var texts []string
	for _, s := range services {
		texts = append(texts, s.Spec.CIDRs...)
	}
	var ranges []netip.Prefix
	for _, node := range nodes {
		texts = append(texts, node.Spec.PodCIDRs...)
		for _, a := range node.Status.Addresses {
			if address, err := netip.ParseAddr(a.Address); err == nil {
				ranges = append(ranges, netip.PrefixFrom(address, address.BitLen()))
			}
		}
	}
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			ranges = append(ranges, prefix)
		}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	return slices.Compact(ranges)
}
