package kube

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// RunProxy programs service addresses, in nftables mode, until ctx ends.
func RunProxy(ctx context.Context, c Config) error {
	path := c.Instance.Path("kube-proxy.yaml")
	data, err := yaml.Marshal(c.proxyConfiguration())
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write kube-proxy configuration: %w", err)
	}
	o := app.NewOptions()
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse([]string{"--config=" + path}); err != nil {
		return fmt.Errorf("configure kube-proxy: %w", err)
	}
	if err := o.Complete(flags); err != nil {
		return fmt.Errorf("configure kube-proxy: %w", err)
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("configure kube-proxy: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- o.Run(ctx) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil // its loop does not watch ctx; the process is about to end
	}
}

func (c Config) proxyConfiguration() *kubeproxyconfig.KubeProxyConfiguration {
	kube := kubeproxyconfig.KubeProxyConfiguration{
		TypeMeta:           metav1.TypeMeta{APIVersion: kubeproxyconfig.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"},
		HostnameOverride:   instance.NodeName,
		BindAddress:        c.Instance.BridgeIP().String(),
		HealthzBindAddress: "127.0.0.1:10256",
		MetricsBindAddress: "127.0.0.1:10249",
		Mode:               "nftables",
		ClusterCIDR:        c.Instance.PodRange.String(),
		NodePortAddresses:  []string{c.Instance.BridgeIP().String() + "/32"},
	}
	kube.ClientConnection.Kubeconfig = c.Certs.Kubeconfig("kube-proxy")
	// Machine-wide conntrack settings are the machine's business.
	kube.Conntrack.MaxPerCore = ptr.To[int32](0)
	kube.Conntrack.Min = ptr.To[int32](0)
	zero := &metav1.Duration{}
	kube.Conntrack.TCPEstablishedTimeout, kube.Conntrack.TCPCloseWaitTimeout = zero, zero
	// A fresh endpoint is reachable at once instead of after a batch of a second.
	kube.NFTables.MinSyncPeriod = metav1.Duration{Duration: 10 * time.Millisecond}
	kube.NFTables.SyncPeriod = metav1.Duration{Duration: 30 * time.Second}
	return &kube
}
