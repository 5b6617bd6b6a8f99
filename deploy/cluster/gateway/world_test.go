package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	networkingfake "knative.dev/networking/pkg/client/clientset/versioned/fake"
)

const (
	external = v1alpha1.IngressVisibilityExternalIP
	local    = v1alpha1.IngressVisibilityClusterLocal
)

// world is a running gateway. The API server is a fake that only feeds objects;
// listeners, connections and backends are real.
type world struct {
	*testing.T
	kube       *kubefake.Clientset
	networking *networkingfake.Clientset
	gateway    *Gateway
	stop       func() error

	http, https, internal string // addresses
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := stoppedWorld(t)
	w.installCRD()
	w.run()
	w.watched()
	return w
}

// stoppedWorld has no Ingress CRD and its gateway does not run yet.
func stoppedWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, kube: kubefake.NewClientset(), networking: networkingfake.NewSimpleClientset()}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	ext, tls, in := listen(), listen(), listen()
	w.http, w.https, w.internal = ext.Addr().String(), tls.Addr().String(), in.Addr().String()
	g, err := New(Options{
		Kube: w.kube, Networking: w.networking, ProbeAddress: "127.0.0.1",
		External: []net.Listener{ext}, ExternalTLS: []net.Listener{tls}, Internal: []net.Listener{in},
		Logger: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = g
	// Run applies them again; the fake would lose the first events, see watched.
	if err := applyDoors(t.Context(), w.kube, doors(g.address, g.ports)); err != nil {
		t.Fatal(err)
	}
	return w
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Helper()
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) installCRD() {
	w.networking.Fake.Lock()
	defer w.networking.Fake.Unlock()
	w.networking.Resources = []*metav1.APIResourceList{{
		GroupVersion: v1alpha1.SchemeGroupVersion.String(),
		APIResources: []metav1.APIResource{{Name: "ingresses"}},
	}}
}

// watched waits for the watches: the fake API server forgets what happens
// between a list and the watch that follows it.
func (w *world) watched() {
	w.Helper()
	w.eventually("the gateway watches", func() bool {
		seen := map[string]bool{}
		for _, action := range append(w.kube.Actions(), w.networking.Actions()...) {
			if action.GetVerb() == "watch" {
				seen[action.GetResource().Resource] = true
			}
		}
		return len(seen) == 4
	})
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.gateway.Run(ctx) }()
	stopped := false
	w.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(2 * shutdownGrace):
			return fmt.Errorf("Run did not return %v after its context ended", 2*shutdownGrace)
		}
	}
	w.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.Errorf("Run: %v", err)
		}
	})
}

// eventually polls, for what crosses the fake API server has no signal.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("not within 10 s: %s", what)
}

// backend starts a server and makes it the Service default/name with port 80.
func (w *world) backend(name, portName string, handler http.Handler) *httptest.Server {
	w.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	w.Cleanup(server.CloseClientConnections)
	w.Cleanup(server.Close)
	w.service(name, portName)
	w.endpoints(name, portName, server.Listener.Addr().String())
	return server
}

func (w *world) service(name, portName string) {
	w.Helper()
	w.create(w.kube.CoreV1().Services("default").Create(w.Context(), service(name, portName, 80), metav1.CreateOptions{}))
}

func (w *world) create(_ any, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// endpoints sets the ready endpoints of a Service; all have one port.
func (w *world) endpoints(name, portName string, addresses ...string) {
	w.Helper()
	slices := w.kube.DiscoveryV1().EndpointSlices("default")
	// Each address in a slice of its own, since the ports differ.
	for i, address := range addresses {
		slice := endpointSlice(w.T, name, portName, address)
		slice.Name = fmt.Sprintf("%s-%d", name, i)
		_, err := slices.Update(w.Context(), slice, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = slices.Create(w.Context(), slice, metav1.CreateOptions{})
		}
		if err != nil {
			w.Fatal(err)
		}
	}
}

// serve creates an Ingress and waits until it is ready.
func (w *world) serve(ing *v1alpha1.Ingress) {
	w.Helper()
	w.create(w.networking.NetworkingV1alpha1().Ingresses(ing.Namespace).Create(w.Context(), ing, metav1.CreateOptions{}))
	w.eventually("Ingress "+ing.Name+" is ready", func() bool { return w.status(ing.Name).IsReady() })
}

func (w *world) status(name string) *v1alpha1.Ingress {
	w.Helper()
	ing, err := w.networking.NetworkingV1alpha1().Ingresses("default").Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return ing
}

// client sends every request to one address, whatever its host.
func client(address string, h2c bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	return &http.Client{
		Transport: &http.Transport{
			Protocols: protocols,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get returns status, body and headers of a response.
func (w *world) get(address, url string, headers ...string) (int, string, http.Header) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client(address, false).Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(body)), res.Header
}

func ingressFor(name string, rules ...v1alpha1.IngressRule) *v1alpha1.Ingress {
	return &v1alpha1.Ingress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID(name), Generation: 1,
			Annotations: map[string]string{networking.IngressClassAnnotationKey: ClassName},
		},
		Spec: v1alpha1.IngressSpec{HTTPOption: v1alpha1.HTTPOptionEnabled, Rules: rules},
	}
}

func rule(visibility v1alpha1.IngressVisibility, host string, paths ...v1alpha1.HTTPIngressPath) v1alpha1.IngressRule {
	r := v1alpha1.IngressRule{Visibility: visibility, HTTP: &v1alpha1.HTTPIngressRuleValue{Paths: paths}}
	if host != "" {
		r.Hosts = strings.Split(host, ",")
	}
	return r
}

func pathTo(services ...string) v1alpha1.HTTPIngressPath {
	p := v1alpha1.HTTPIngressPath{}
	for _, name := range services {
		p.Splits = append(p.Splits, splitTo(name, 100/len(services)))
	}
	return p
}

func splitTo(name string, percent int) v1alpha1.IngressBackendSplit {
	return v1alpha1.IngressBackendSplit{
		Percent: percent,
		IngressBackend: v1alpha1.IngressBackend{
			ServiceNamespace: "default", ServiceName: name, ServicePort: intstr.FromInt32(80),
		},
	}
}

func service(name, portName string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: port}}},
	}
}

func endpointSlice(t *testing.T, service, portName string, address string) *discoveryv1.EndpointSlice {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	port := int32(tcp.Port)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: service,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{tcp.IP.String()}}},
	}
}

// says answers with a line that names the server and the host it was asked for.
func says(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s by %s", name, r.Host, r.Proto)
	}
}
