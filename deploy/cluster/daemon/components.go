package daemon

import (
	"context"
	"sync"

	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/deploy/cluster/kube"
)

// componentNames is everything that runs, in the order shown to people.
var componentNames = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
	"containerd", "kubelet", "kube-proxy", "network-policy", "volumes", "dns", "registry", "gateway",
}

// start runs all components but etcd, each as soon as what it needs is ready;
// the channel closes when all have ended.
func (d *daemon) start(ctx context.Context, config kube.Config) <-chan struct{} {
	var running sync.WaitGroup
	run := func(name string, f func(context.Context) error, probe func(context.Context) error) {
		running.Go(func() { d.component(ctx, name, f) })
		if probe != nil {
			running.Go(func() { d.await(ctx, name, probe) })
		}
	}
	containers := make(chan struct{})
	running.Go(func() { d.runContainerd(ctx, containers) })
	running.Go(func() { d.component(ctx, "registry", d.runRegistry) })
	run("kube-apiserver", func(ctx context.Context) error { return kube.RunAPIServer(ctx, config) }, d.apiServerReady)

	running.Go(func() {
		clients, ok := d.bootstrap(ctx)
		if !ok {
			return
		}
		run("kube-controller-manager", func(ctx context.Context) error { return kube.RunControllerManager(ctx, config) }, healthy("https://127.0.0.1:10257/healthz"))
		run("kube-scheduler", func(ctx context.Context) error { return kube.RunScheduler(ctx, config) }, healthy("https://127.0.0.1:10259/healthz"))
		run("kube-proxy", func(ctx context.Context) error { return kube.RunProxy(ctx, config) }, healthy("http://127.0.0.1:10256/healthz"))
		run("dns", d.runDNS, d.dnsReady)
		run("network-policy", d.runPolicy(clients), d.always)
		run("volumes", d.runVolumes(clients), d.always)
		run("gateway", d.runGateway(clients), d.always)
		select {
		case <-containers:
			if err := d.correctPods(ctx, clients); err != nil {
				d.failed("kubelet", err)
				return
			}
			run("kubelet", func(ctx context.Context) error { return kube.RunKubelet(ctx, config) }, d.nodeReady(clients))
		case <-ctx.Done():
		}
	})
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	return done
}

// bootstrap waits for the API, makes the objects that the cluster itself needs
// and returns a client; ok is false when the daemon is ending.
func (d *daemon) bootstrap(ctx context.Context) (client *kubernetes.Clientset, ok bool) {
	config, err := d.restConfig()
	if err == nil {
		client, err = kubernetes.NewForConfig(config)
	}
	if err == nil {
		if !poll(ctx, d.apiServerReady) {
			return nil, false
		}
		err = d.applyObjects(ctx, client)
	}
	if err != nil && ctx.Err() == nil {
		d.failed("kube-apiserver", err)
	}
	return client, err == nil && ctx.Err() == nil
}
