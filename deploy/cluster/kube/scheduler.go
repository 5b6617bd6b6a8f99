package kube

import (
	"context"
	"fmt"

	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// RunScheduler places pods until ctx ends.
func RunScheduler(ctx context.Context, c Config) error {
	o := options.NewOptions()
	kubeconfig := c.Certs.Kubeconfig("scheduler")
	err := parse("kube-scheduler", *o.Flags, []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--cert-dir=", // a certificate in memory
		"--leader-elect=false",
		"--profiling=false",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	})
	if err != nil {
		return err
	}
	if err := o.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("configure kube-scheduler: %w", err)
	}
	cfg, sched, err := app.Setup(ctx, o)
	if err != nil {
		return fmt.Errorf("configure kube-scheduler: %w", err)
	}
	return app.Run(ctx, cfg, sched)
}
