package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	acorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	adiscoveryv1 "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/volumes"
)

// FieldManager owns the objects that the daemon applies.
const FieldManager = "knit-cluster"

// applyObjects makes the objects that tell others about this cluster: the DNS
// service, where the registry is and how to log in to it, and the storage class.
func (d *daemon) applyObjects(ctx context.Context, client kubernetes.Interface) error {
	opts := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
	core := client.CoreV1()
	for _, ns := range []string{"kube-system", "knit-system"} {
		if _, err := core.Namespaces().Apply(ctx, acorev1.Namespace(ns), opts); err != nil {
			return fmt.Errorf("apply namespace %s: %w", ns, err)
		}
	}
	if _, err := core.Services("kube-system").Apply(ctx, d.dnsService(), opts); err != nil {
		return fmt.Errorf("apply service kube-dns: %w", err)
	}
	if _, err := client.DiscoveryV1().EndpointSlices("kube-system").Apply(ctx, d.dnsEndpoints(), opts); err != nil {
		return fmt.Errorf("apply endpoints of kube-dns: %w", err)
	}
	if _, err := core.ConfigMaps("kube-system").Apply(ctx, d.clusterConfigMap(), opts); err != nil {
		return fmt.Errorf("apply configmap knit-cluster: %w", err)
	}
	secret, err := d.registrySecret()
	if err != nil {
		return err
	}
	if _, err := core.Secrets("kube-system").Apply(ctx, secret, opts); err != nil {
		return fmt.Errorf("apply secret knit-registry: %w", err)
	}
	if _, err := client.StorageV1().StorageClasses().Apply(ctx, volumes.Class(), opts); err != nil {
		return fmt.Errorf("apply storage class %s: %w", volumes.ClassName, err)
	}
	return nil
}

func (d *daemon) dnsService() *acorev1.ServiceApplyConfiguration {
	port := func(name string, p corev1.Protocol) *acorev1.ServicePortApplyConfiguration {
		return acorev1.ServicePort().WithName(name).WithProtocol(p).WithPort(instance.DNSPort)
	}
	return acorev1.Service("kube-dns", "kube-system").WithLabels(map[string]string{"k8s-app": "kube-dns"}).
		WithSpec(acorev1.ServiceSpec().WithClusterIP(d.Instance.DNSServiceIP().String()).
			WithPorts(port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)))
}

func (d *daemon) dnsEndpoints() *adiscoveryv1.EndpointSliceApplyConfiguration {
	port := func(name string, p corev1.Protocol) *adiscoveryv1.EndpointPortApplyConfiguration {
		return adiscoveryv1.EndpointPort().WithName(name).WithProtocol(p).WithPort(instance.DNSPort)
	}
	return adiscoveryv1.EndpointSlice("kube-dns-knit", "kube-system").
		WithLabels(map[string]string{discoveryv1.LabelServiceName: "kube-dns", discoveryv1.LabelManagedBy: FieldManager}).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithPorts(port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)).
		WithEndpoints(adiscoveryv1.Endpoint().WithAddresses(d.Instance.BridgeIP().String()).
			WithConditions(adiscoveryv1.EndpointConditions().WithReady(true)))
}

func (d *daemon) clusterConfigMap() *acorev1.ConfigMapApplyConfiguration {
	port := ""
	if d.Instance.HostPort != 80 {
		port = strconv.Itoa(d.Instance.HostPort)
	}
	return acorev1.ConfigMap("knit-cluster", "kube-system").WithData(map[string]string{
		"registry":      d.Instance.Registry(),
		"ca.crt":        string(d.certs.CA.PEM()),
		"domain":        instance.Domain,
		"url-port":      port,
		"bridge-ip":     d.Instance.BridgeIP().String(),
		"pod-range":     d.Instance.PodRange.String(),
		"service-range": d.Instance.ServiceRange.String(),
	})
}

func (d *daemon) registrySecret() (*acorev1.SecretApplyConfiguration, error) {
	login := base64.StdEncoding.EncodeToString([]byte(RegistryUser + ":" + d.certs.RegistryPassword))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{
		d.Instance.Registry(): map[string]string{"username": RegistryUser, "password": d.certs.RegistryPassword, "auth": login},
	}})
	if err != nil {
		return nil, err
	}
	return acorev1.Secret("knit-registry", "kube-system").WithType(corev1.SecretTypeDockerConfigJson).
		WithData(map[string][]byte{corev1.DockerConfigJsonKey: config}), nil
}
