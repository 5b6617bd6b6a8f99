package gateway

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	discoveryapply "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/client-go/kubernetes"
)

// Namespace is where the Services of the gateway are.
const Namespace = "knit-system"

const (
	serviceExternal = "gateway"
	serviceInternal = "gateway-internal"

	// owner is not Knit's usual field owner: the namespace has labels that
	// others apply under that name, and one owner's apply drops what it no
	// longer mentions.
	owner = "knit-gateway"
)

// front door of the cluster: a Service without selector and the slice that
// leads it to a listener on the bridge.
type door struct {
	service *coreapply.ServiceApplyConfiguration
	status  *coreapply.ServiceApplyConfiguration // nil when the Service has no address outside
	slice   *discoveryapply.EndpointSliceApplyConfiguration
}

// doorPort is a port of a door and the port of the listener behind it.
type doorPort struct {
	name         string
	port, target int
}

// doors lists the Services of the gateway. The external one is of type
// LoadBalancer with the bridge address as its ingress, so that ports 80 and 443
// of that address are served too, by kube-proxy, and clients that look for a
// load balancer find one.
func doors(address string, p ports) []door {
	external := []doorPort{{"http2", 80, p.http}}
	if p.https != 0 {
		external = append(external, doorPort{"https", 443, p.https})
	}
	out := makeDoor(serviceExternal, address, external)
	out.service.Spec.WithType(corev1.ServiceTypeLoadBalancer).WithAllocateLoadBalancerNodePorts(false)
	out.status = coreapply.Service(serviceExternal, Namespace).WithStatus(coreapply.ServiceStatus().WithLoadBalancer(
		coreapply.LoadBalancerStatus().WithIngress(
			coreapply.LoadBalancerIngress().WithIP(address).WithIPMode(corev1.LoadBalancerIPModeVIP))))
	in := makeDoor(serviceInternal, address, []doorPort{{"http2", 80, p.internal}})
	in.service.Spec.WithType(corev1.ServiceTypeClusterIP)
	return []door{out, in}
}

func makeDoor(name, address string, list []doorPort) door {
	labels := map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "knit"}
	spec := coreapply.ServiceSpec()
	slice := discoveryapply.EndpointSlice(name, Namespace).
		WithLabels(labels).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: "knit.dev"}).
		WithAddressType(addressType(address)).
		WithEndpoints(discoveryapply.Endpoint().WithAddresses(address).
			WithConditions(discoveryapply.EndpointConditions().WithReady(true).WithServing(true).WithTerminating(false)))
	for _, p := range list {
		spec.WithPorts(coreapply.ServicePort().WithName(p.name).WithProtocol(corev1.ProtocolTCP).WithPort(int32(p.port)))
		slice.WithPorts(discoveryapply.EndpointPort().WithName(p.name).WithProtocol(corev1.ProtocolTCP).WithPort(int32(p.target)))
	}
	return door{service: coreapply.Service(name, Namespace).WithLabels(labels).WithSpec(spec), slice: slice}
}

// applyObjects writes the Services, however long the API server takes to come up.
func (g *Gateway) applyObjects(ctx context.Context) error {
	tick := time.NewTicker(crdPoll)
	defer tick.Stop()
	for attempt := 0; ; attempt++ {
		err := applyDoors(ctx, g.options.Kube, doors(g.address, g.ports))
		if err == nil {
			return nil
		}
		if attempt%20 == 10 { // not while a cluster starts, and then every ten seconds
			g.log.Warn("gateway cannot apply its Services and tries again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func applyDoors(ctx context.Context, kube kubernetes.Interface, list []door) error {
	options := metav1.ApplyOptions{FieldManager: owner, Force: true}
	if _, err := kube.CoreV1().Namespaces().Apply(ctx, coreapply.Namespace(Namespace), options); err != nil {
		return fmt.Errorf("apply Namespace %s: %w", Namespace, err)
	}
	services := kube.CoreV1().Services(Namespace)
	for _, d := range list {
		if _, err := services.Apply(ctx, d.service, options); err != nil {
			return fmt.Errorf("apply Service %s/%s: %w", Namespace, *d.service.Name, err)
		}
		if _, err := kube.DiscoveryV1().EndpointSlices(Namespace).Apply(ctx, d.slice, options); err != nil {
			return fmt.Errorf("apply EndpointSlice %s/%s: %w", Namespace, *d.slice.Name, err)
		}
		if d.status == nil {
			continue
		}
		if _, err := services.ApplyStatus(ctx, d.status, options); err != nil {
			return fmt.Errorf("apply status of Service %s/%s: %w", Namespace, *d.service.Name, err)
		}
	}
	return nil
}

func addressType(address string) discoveryv1.AddressType {
	for _, c := range address {
		if c == ':' {
			return discoveryv1.AddressTypeIPv6
		}
	}
	return discoveryv1.AddressTypeIPv4
}
