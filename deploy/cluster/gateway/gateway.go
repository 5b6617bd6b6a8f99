package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"knative.dev/networking/pkg/client/clientset/versioned"
	"knative.dev/networking/pkg/status"
)

// ClassName is the value of the annotation networking.knative.dev/ingress.class
// that this gateway serves; config-network names it as its ingress-class.
const ClassName = "knit.ingress.networking.knative.dev"

// Options are what a Gateway needs from the process it runs in.
type Options struct {
	Kube       kubernetes.Interface
	Networking versioned.Interface

	// External and ExternalTLS serve hosts with visibility ExternalIP, Internal
	// those with ClusterLocal. At least one of External and of Internal must
	// accept connections to ProbeAddress. Run owns the listeners and closes
	// them. ExternalTLS may be empty; its connections must be plain TCP.
	External    []net.Listener
	ExternalTLS []net.Listener
	Internal    []net.Listener

	// ProbeAddress is the address on the pod bridge. Readiness is probed on it
	// and the Services of the gateway lead to it, with the listeners' ports.
	ProbeAddress string

	// Logger is slog's default when nil.
	Logger *slog.Logger

	// ClusterDomain is "cluster.local" when empty.
	ClusterDomain string
}

// Gateway serves the Ingresses of one cluster.
type Gateway struct {
	options Options
	log     *slog.Logger
	address string // ProbeAddress, in canonical form
	ports   ports

	transport *transport
	proxy     *httputil.ReverseProxy
	inflight  atomic.Int32
	table     atomic.Pointer[table]
	started   chan struct{} // closed when the first table is stored

	caches   *caches
	backends *backends
	dirty    chan struct{} // holds one token when the table must be built again
	statuses *statuses
}

// ports are the ports of the listeners on the probe address.
type ports struct {
	http, https, internal int // https is 0 without TLS listeners
}

// New checks the options. It talks to nobody.
func New(o Options) (*Gateway, error) {
	if o.Kube == nil || o.Networking == nil {
		return nil, errors.New("gateway: Options.Kube and Options.Networking are required")
	}
	address, err := netip.ParseAddr(o.ProbeAddress)
	if err != nil {
		return nil, fmt.Errorf("gateway: Options.ProbeAddress must be the IP address of the pod bridge: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ClusterDomain == "" {
		o.ClusterDomain = "cluster.local"
	}
	g := &Gateway{
		options: o,
		log:     o.Logger,
		address: address.Unmap().String(),
		started: make(chan struct{}),
		dirty:   make(chan struct{}, 1),
	}
	if g.ports, err = findPorts(o, address.Unmap()); err != nil {
		return nil, err
	}
	g.transport = newTransport()
	g.proxy = g.newProxy()
	g.caches = newCaches(o.Kube, o.Networking)
	self := map[string]bool{}
	for _, port := range []int{g.ports.http, g.ports.https, g.ports.internal} {
		self[net.JoinHostPort(g.address, strconv.Itoa(port))] = true
	}
	g.backends = newBackends(g.caches, o.ClusterDomain, self, g.backendFlipped)
	g.statuses = newStatuses(g)
	g.statuses.prober = status.NewProber(proberLogger(o.Logger), g.statuses, g.statuses.enqueue)
	return g, nil
}

func findPorts(o Options, address netip.Addr) (ports, error) {
	var p ports
	for _, kind := range []struct {
		name      string
		listeners []net.Listener
		port      *int
	}{{"External", o.External, &p.http}, {"ExternalTLS", o.ExternalTLS, &p.https}, {"Internal", o.Internal, &p.internal}} {
		for _, l := range kind.listeners {
			tcp, ok := l.Addr().(*net.TCPAddr)
			if !ok {
				continue
			}
			if bound := tcp.AddrPort().Addr().Unmap(); bound == address || bound.IsUnspecified() {
				*kind.port = tcp.Port
				break
			}
		}
		if *kind.port == 0 && (kind.name != "ExternalTLS" || len(kind.listeners) > 0) {
			return p, fmt.Errorf("gateway: no listener of Options.%s accepts connections to %s; add one on that address", kind.name, address)
		}
	}
	return p, nil
}

// Run serves until the context ends or a listener fails. The API server and the
// Ingress CRD may appear at any time after it has started.
func (g *Gateway) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	g.serve(ctx, group)
	group.Go(func() error { return g.applyObjects(ctx) })
	group.Go(func() error { return g.watch(ctx) })
	err := group.Wait()
	g.transport.closeIdle()
	return err
}
