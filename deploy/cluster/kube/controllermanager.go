package kube

import (
	"context"
	"fmt"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// RunControllerManager runs Kubernetes' controllers until ctx ends.
func RunControllerManager(ctx context.Context, c Config) error {
	s, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	flags := s.Flags(app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	s.ParsedFlags = &flags
	kubeconfig := c.Certs.Kubeconfig("controller-manager")
	err = parse("kube-controller-manager", flags, []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--cert-dir=", // a certificate in memory
		"--root-ca-file=" + c.Certs.CA.CertFile(),
		"--service-account-private-key-file=" + c.Certs.ServiceAccountKey,
		"--cluster-signing-cert-file=" + c.Certs.CA.CertFile(),
		"--cluster-signing-key-file=" + c.Certs.CA.KeyFile(),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--profiling=false",
		"--allocate-node-cidrs=false",
		"--controllers=*,-nodeipam,-node-route-controller,-cloud-node-lifecycle-controller,-service-lb-controller",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--endpointslice-updates-batch-period=0s",
		"--endpoint-updates-batch-period=0s",
		"--terminated-pod-gc-threshold=200",
		"--node-monitor-grace-period=40s",
	})
	if err != nil {
		return err
	}
	if err := s.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("configure kube-controller-manager: %w", err)
	}
	cfg, err := s.Config(ctx, app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	if err != nil {
		return fmt.Errorf("configure kube-controller-manager: %w", err)
	}
	return app.Run(ctx, cfg.Complete())
}
