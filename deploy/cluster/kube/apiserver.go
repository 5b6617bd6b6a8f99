package kube

import (
	"context"
	"fmt"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// RunAPIServer serves the Kubernetes API on the bridge address until ctx ends.
func RunAPIServer(ctx context.Context, c Config) error {
	s := options.NewServerRunOptions()
	if err := parse("kube-apiserver", s.Flags(), c.apiServerFlags()); err != nil {
		return err
	}
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("configure kube-apiserver: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := s.Complete(ctx)
	if err != nil {
		return fmt.Errorf("configure kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return fmt.Errorf("configure kube-apiserver: %w", utilerrors.NewAggregate(errs))
	}
	return app.Run(ctx, completed)
}

func (c Config) apiServerFlags() []string {
	i, p := c.Instance, c.Certs
	return []string{
		"--bind-address=" + i.BridgeIP().String(),
		"--advertise-address=" + i.BridgeIP().String(),
		fmt.Sprintf("--secure-port=%d", instance.APIPort),
		"--service-cluster-ip-range=" + i.ServiceRange.String(),
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", instance.EtcdPort),
		"--etcd-cafile=" + p.CA.CertFile(),
		"--etcd-certfile=" + p.EtcdClient.Cert,
		"--etcd-keyfile=" + p.EtcdClient.Key,
		"--tls-cert-file=" + p.APIServer.Cert,
		"--tls-private-key-file=" + p.APIServer.Key,
		"--client-ca-file=" + p.CA.CertFile(),
		"--anonymous-auth=false",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction,PodSecurity",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc." + instance.ClusterDomain,
		"--service-account-key-file=" + p.ServiceAccountPub,
		"--service-account-signing-key-file=" + p.ServiceAccountKey,
		"--kubelet-certificate-authority=" + p.CA.CertFile(),
		"--kubelet-client-certificate=" + p.KubeletClient.Cert,
		"--kubelet-client-key=" + p.KubeletClient.Key,
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + p.FrontProxyCA.CertFile(),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.FrontProxy.Cert,
		"--proxy-client-key-file=" + p.FrontProxy.Key,
		"--enable-aggregator-routing=true",
		"--endpoint-reconciler-type=lease",
		"--profiling=false",
		"--event-ttl=1h",
		// The loopback client and one user: small queues, small caches.
		"--max-requests-inflight=200",
		"--max-mutating-requests-inflight=100",
		"--default-watch-cache-size=50",
		"--shutdown-delay-duration=0s",
	}
}
