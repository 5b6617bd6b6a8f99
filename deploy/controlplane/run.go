package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	buildcontroller "github.com/knit-dev/knit/builder/controller"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/eventing"
	"github.com/knit-dev/knit/eventing/deadletters"
	"github.com/knit-dev/knit/eventing/taps"
	functioncontroller "github.com/knit-dev/knit/functions/controller"
	"github.com/knit-dev/knit/functions/service"
	schedulecontroller "github.com/knit-dev/knit/scheduler/controller"
)

// drain is how long running work may take to end after SIGTERM; the pod's
// grace period is longer.
const drain = 25 * time.Second

// run assembles everything and works until ctx ends.
func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	config.QPS, config.Burst = float32(o.qps), o.burst
	config.UserAgent = "knit-controlplane"
	mgr, err := ctrl.NewManager(config, o.manager())
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}

	wiring := functioncontroller.Wiring{Objects: eventing.Wire, DefaultBroker: eventing.DefaultBroker}
	transport, err := registryTransport(o.registryCA)
	if err != nil {
		return err
	}
	builds := buildcontroller.Options{
		Kube: kube, SystemNamespace: o.namespace, BuildNamespace: o.buildNamespace,
		Registry: &registry.Client{Keychain: authn.DefaultKeychain, Transport: transport},
	}
	err = errors.Join(
		functioncontroller.Setup(mgr, wiring),
		buildcontroller.Setup(mgr, builds),
		schedulecontroller.Setup(mgr),
	)
	if err != nil {
		return err
	}
	aggregation, err := aggregator.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := addService(ctx, mgr, o, kube, aggregation, transport); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// manager says how the controllers share a connection, a cache and a leader.
func (o options) manager() ctrl.Options {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(service.AddToScheme(scheme))
	utilruntime.Must(deadletters.AddToScheme(scheme))
	wait := drain
	return ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{
			// What tenants have is not read, except for Knit's own kinds.
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Pod{}:       {Namespaces: map[string]cache.Config{o.buildNamespace: {}}},
				&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{o.namespace: {}}},
			},
			DefaultTransform: cache.TransformStripManagedFields(),
		},
		LeaderElection:                true,
		LeaderElectionID:              "knit-controlplane",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        o.health,
		Metrics:                       metricsserver.Options{BindAddress: o.metrics},
		GracefulShutdownTimeout:       &wait,
	}
}

// addService adds the extension API server, which every replica runs.
func addService(ctx context.Context, mgr ctrl.Manager, o options, kube kubernetes.Interface, aggregation aggregator.Interface, transport http.RoundTripper) error {
	platform, err := readPlatform(ctx, mgr.GetAPIReader(), o.namespace)
	if err != nil {
		return err
	}
	listener, err := o.taps()
	if err != nil {
		return err
	}
	letters, err := deadletters.New(ctx, deadletters.Options{
		Taps:  listener,
		Store: o.letterStore, Replicas: o.letterReplicas, Listen: o.letters,
		Secrets: kube.CoreV1().Secrets(o.namespace), Reader: mgr.GetClient(),
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(letters); err != nil {
		return err
	}
	if err := mgr.Add(taps.NewSweeper(mgr.GetClient())); err != nil {
		return err
	}
	options := service.Options{
		Listen: o.listen, Kube: kube, Aggregator: aggregation, Reader: mgr.GetAPIReader(), Cached: mgr.GetClient(),
		Registry: platform.Registry, Prefix: platform.RegistryPrefix, Transport: transport,
		Namespace: o.namespace, BuildNamespace: o.buildNamespace, DeadLetters: letters,
	}
	if listener != nil {
		options.Taps = listener
	}
	server, err := service.New(options)
	if err != nil {
		return err
	}
	if err := mgr.Add(service.NewSweeper(options)); err != nil {
		return err
	}
	if err := mgr.Add(service.NewCollector(options)); err != nil {
		return err
	}
	if err := mgr.Add(server); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("service", listening(o.listen))
}

// taps listens beside the dead-letter sink, at the address of this pod: another
// replica would not have the stream. Without that address there is nil.
func (o options) taps() (*taps.Taps, error) {
	if o.podIP == "" {
		return nil, nil
	}
	_, port, err := net.SplitHostPort(o.letters)
	if err != nil {
		return nil, fmt.Errorf("read --dead-letter-listen: %w", err)
	}
	return taps.New("http://"+net.JoinHostPort(o.podIP, port), "http://knit-dead-letters."+o.namespace+".svc"), nil
}

// listening tells whether the extension API server takes connections.
func listening(address string) healthz.Checker {
	return func(request *http.Request) error {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(request.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
