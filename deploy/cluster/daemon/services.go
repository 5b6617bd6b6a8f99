package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"k8s.io/client-go/kubernetes"
	networking "knative.dev/networking/pkg/client/clientset/versioned"

	"github.com/knit-dev/knit/deploy/cluster/dns"
	"github.com/knit-dev/knit/deploy/cluster/gateway"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/policy"
	"github.com/knit-dev/knit/deploy/cluster/registry"
	"github.com/knit-dev/knit/deploy/cluster/volumes"
)

// The parts of the cluster that are Knit's own, each an adapter between the
// daemon's configuration and the package that does the work.

func (d *daemon) runDNS(ctx context.Context) error {
	log := d.logs.slog("dns")
	upstreams, err := dns.Upstreams(ctx, "/etc/resolv.conf", d.HostNamespace, log)
	if err != nil {
		return err
	}
	return dns.Run(ctx, dns.Options{Instance: d.Instance, Kubeconfig: d.certs.Kubeconfig("cluster"), Upstreams: upstreams})
}

func (d *daemon) runPolicy(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		e, err := policy.New(policy.Options{
			Kube: client, Table: "knit-policy", PodRange: d.Instance.PodRange,
			NodeAddresses: []netip.Addr{d.Instance.BridgeIP(), d.Instance.HostIP()}, Log: d.logs.slog("network-policy"),
		})
		if err != nil {
			return err
		}
		return e.Run(ctx)
	}
}

func (d *daemon) runVolumes(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		p := volumes.Provisioner{Root: d.Instance.Path("volumes"), Node: instance.NodeName}
		return p.Run(ctx, client)
	}
}

func (d *daemon) runGateway(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		config, err := d.restConfig()
		if err != nil {
			return err
		}
		ingresses, err := networking.NewForConfig(config)
		if err != nil {
			return err
		}
		o := gateway.Options{
			Kube: client, Networking: ingresses, ClusterDomain: instance.ClusterDomain,
			ProbeAddress: d.Instance.BridgeIP().String(), Logger: d.logs.slog("gateway"),
		}
		listen := func(port int) (net.Listener, error) {
			return net.Listen("tcp", net.JoinHostPort(d.Instance.BridgeIP().String(), strconv.Itoa(port)))
		}
		o.External = []net.Listener{d.HostListener}
		for _, x := range []struct {
			port int
			to   *[]net.Listener
		}{
			{instance.GatewayPort, &o.External}, {d.Instance.HostPort, &o.External},
			{instance.GatewayTLSPort, &o.ExternalTLS}, {instance.GatewayInternal, &o.Internal},
		} {
			l, err := listen(x.port)
			if err != nil {
				return fmt.Errorf("listen for the gateway: %w", err)
			}
			*x.to = append(*x.to, l)
		}
		g, err := gateway.New(o)
		if err != nil {
			return err
		}
		return g.Run(ctx)
	}
}

func (d *daemon) runRegistry(ctx context.Context) error {
	r, err := d.openRegistry(ctx)
	if err != nil {
		return err
	}
	d.registry.Store(r)
	d.board.set("registry", Ready, nil)
	defer r.Close()
	go d.collectRegularly(ctx)
	return r.Serve(ctx)
}

func (d *daemon) openRegistry(ctx context.Context) (*registry.Registry, error) {
	cert, err := tls.LoadX509KeyPair(d.certs.Registry.Cert, d.certs.Registry.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate of the registry: %w", err)
	}
	l, err := net.Listen("tcp", d.Instance.Registry())
	if err != nil {
		return nil, fmt.Errorf("listen for the registry: %w", err)
	}
	return registry.New(ctx, registry.Options{
		Root: d.Instance.Path("registry"), Listener: l,
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		Username: RegistryUser, Password: d.certs.RegistryPassword,
		Log: d.logs.writer("registry"), InUse: d.imagesInUse,
	})
}
