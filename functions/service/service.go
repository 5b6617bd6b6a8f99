// Package service is Knit's extension API server: the part of the Kubernetes
// API under the group service.knit.dev. It takes source archives from people
// who deploy and hands out the logs of their builds and the bills of materials
// of their images, and calls functions and sends events for who cannot reach their addresses,
// so that a kubeconfig is all they need. The control plane runs it in every replica;
// kube-apiserver proxies to it. It decides nothing about identity or rights itself: both are
// delegated to kube-apiserver. It holds no state but the registry's.
package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/archive"
)

// Group, Version and the resources of this API.
const (
	Group   = "service.knit.dev"
	Version = "v1alpha1"

	resourceSources   = "sources"
	resourceBuilds    = "builds"
	resourceFunctions = "functions"

	resourceDeadLetters = "deadletters"
	resourceRedrives    = "redrives"

	subresourceInvoke = "invoke"
	subresourceEvents = "events"
)

// Defaults of Options.
const (
	DefaultNamespace      = "knit-system"
	DefaultName           = "knit-service"
	DefaultBuildNamespace = "knit-builds"
	DefaultUploads        = 16
	DefaultLogStreams     = 128
	DefaultInvocations    = 64
)

// Options say where the server stands and what it may use.
type Options struct {
	// Listen is the TCP address to serve TLS on, for example ":8443".
	Listen string
	// Port is the port of the Kubernetes Service in front of Listen; 443 when zero.
	Port int32
	// Kubeconfig is the file used for token and access reviews; empty means
	// the identity of the pod.
	Kubeconfig string
	// Kube reads pods' logs and keeps the certificate's Secret.
	Kube kubernetes.Interface
	// Aggregator registers the APIService.
	Aggregator aggregator.Interface
	// Reader reads the kinds of AddToScheme; it need not be cached.
	Reader client.Reader
	// Cached reads Brokers and Channels, for every event that is sent: best from a
	// cache. Reader when nil.
	Cached client.Reader

	// Registry is the host:port of the registry, Prefix the first part of
	// every repository in it (may be empty).
	Registry, Prefix string
	// Keychain holds the registry login.
	Keychain authn.Keychain
	// Transport reaches the registry; it trusts the registry's CA.
	Transport http.RoundTripper

	// Namespace and Name are those of the Kubernetes Service in front of
	// this server; the certificate's Secret is "<Name>-tls" beside it.
	Namespace, Name string
	// BuildNamespace is where build pods run.
	BuildNamespace string
	// MaxArchive is the largest source archive in bytes; what unpacking takes when zero.
	MaxArchive int64
	// Uploads is how many archives are received at once by this replica;
	// one namespace gets at most half of them.
	Uploads int
	// LogStreams is how many build logs are read at once by this replica;
	// one namespace gets at most half of them.
	LogStreams int
	// Invocations is how many functions are called at once through this
	// replica; one namespace gets at most half of them.
	Invocations int
	// DeadLetters keeps events that could not be delivered; nil when nothing does.
	DeadLetters DeadLetters
	// Taps listens for events that pass; nil when nothing does.
	Taps Taps
}

// Server is the extension API server.
type Server struct {
	options Options
	cert    *certificate
}

// New checks the options and fills in defaults. It starts nothing.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	switch {
	case o.Listen == "":
		return nil, errors.New("service: Listen is empty; give an address such as \":8443\"")
	case o.Registry == "":
		return nil, errors.New("service: Registry is empty; give the host:port of the registry")
	case o.Kube == nil || o.Aggregator == nil || o.Reader == nil:
		return nil, errors.New("service: Kube, Aggregator and Reader must all be set")
	}
	return &Server{options: o, cert: newCertificate(o.Kube, o.Namespace, o.Name)}, nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.Namespace, DefaultNamespace)
	setDefault(&o.Name, DefaultName)
	setDefault(&o.BuildNamespace, DefaultBuildNamespace)
	setDefault(&o.MaxArchive, archive.DefaultLimits().Compressed)
	setDefault(&o.Uploads, DefaultUploads)
	setDefault(&o.LogStreams, DefaultLogStreams)
	setDefault(&o.Invocations, DefaultInvocations)
	setDefault(&o.Port, 443)
	if o.Cached == nil {
		o.Cached = o.Reader
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Run makes the certificate, registers the APIService and serves until ctx
// ends; then it lets requests under way finish and returns nil.
func (s *Server) Run(ctx context.Context) error {
	if err := s.cert.ensure(ctx); err != nil {
		return err
	}
	server, err := s.genericServer()
	if err != nil {
		return fmt.Errorf("set up the extension API server: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.keepRegistered(ctx) })
	group.Go(func() error { return server.PrepareRun().RunWithContext(ctx) })
	return group.Wait()
}

// NeedLeaderElection tells a controller-runtime manager that every replica
// serves, not only the leader.
func (s *Server) NeedLeaderElection() bool { return false }

// Start is Run under the name that a controller-runtime manager calls.
func (s *Server) Start(ctx context.Context) error { return s.Run(ctx) }
