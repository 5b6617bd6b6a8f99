package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	ktesting "k8s.io/client-go/testing"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorfake "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// kubeAPI plays the few endpoints of kube-apiserver that the server delegates
// to: alice may use the service in namespace alice, and nobody else anything.
func kubeAPI(t *testing.T, proxyCA []byte) *httptest.Server {
	t.Helper()
	config := corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
		Data: map[string]string{
			"client-ca-file": string(proxyCA), "requestheader-client-ca-file": string(proxyCA), "requestheader-allowed-names": `["front-proxy"]`,
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`, "requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authenticationv1.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		if user, ok := strings.CutPrefix(review.Spec.Token, "token-of-"); ok {
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: user}}
		}
		writeJSON(w, http.StatusCreated, review)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		if a := review.Spec.ResourceAttributes; a != nil {
			right := a.Group + " " + a.Resource + " " + a.Subresource + " " + a.Verb
			review.Status.Allowed = review.Spec.User == "alice" && a.Namespace == "alice" &&
				(right == "service.knit.dev sources  get" || right == "service.knit.dev sources  update")
		} else {
			review.Status.Allowed = review.Spec.User == "alice" // discovery
		}
		writeJSON(w, http.StatusCreated, review)
	})
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, config)
	})
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Query().Get("sendInitialEvents") == "true" {
				end := config.DeepCopy()
				end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
				_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": config})
				_ = json.NewEncoder(w).Encode(map[string]any{"type": "BOOKMARK", "object": end})
			}
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		writeJSON(w, http.StatusOK, corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.ConfigMap{config},
		})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// proxyCertificate is what kube-apiserver's aggregator identifies itself with.
func proxyCertificate(t *testing.T) (ca []byte, cert tls.Certificate) {
	t.Helper()
	authority, err := makeAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(authority.caCert, authority.caKey)
	if err != nil {
		t.Fatal(err)
	}
	request := template("front-proxy", time.Now(), time.Hour+time.Minute)
	request.Subject = pkix.Name{CommonName: "front-proxy"}
	request.KeyUsage, request.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certPEM, keyPEM, err := sign(request, pair.Leaf, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return authority.caCert, cert
}

type runningServer struct {
	url   string
	ca    []byte
	proxy tls.Certificate
}

// start runs the whole server and waits until it has registered itself.
func start(t *testing.T, r *testRegistry) runningServer {
	t.Helper()
	proxyCA, proxy := proxyCertificate(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"x","cluster":{"server":%q}}],"contexts":[{"name":"x","context":{"cluster":"x"}}],"current-context":"x"}`, kubeAPI(t, proxyCA).URL)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	registered := make(chan *apiregistration.APIService, 1)
	aggregator := aggregatorfake.NewSimpleClientset()
	aggregator.PrependReactor("patch", "apiservices", func(action ktesting.Action) (bool, runtime.Object, error) {
		var service apiregistration.APIService
		if err := json.Unmarshal(action.(ktesting.PatchAction).GetPatch(), &service); err != nil {
			return true, nil, err
		}
		select {
		case registered <- &service:
		default:
		}
		return true, &service, nil
	})
	listen := freeAddress(t)
	server, err := New(Options{
		Listen: listen, Kubeconfig: kubeconfig, Kube: fake.NewClientset(), Aggregator: aggregator, Reader: clientfake.NewClientBuilder().Build(),
		Registry: r.host(), Keychain: keychainFunc(login), Transport: r.Client().Transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case service := <-registered:
		if service.Name != "v1alpha1.service.knit.dev" || *service.Spec.Service.Port != 443 || service.Spec.Service.Name != "knit-service" {
			t.Errorf("APIService %+v", service)
		}
		return runningServer{url: "https://" + listen, ca: service.Spec.CABundle, proxy: proxy}
	case err := <-ended:
		ended <- err
		t.Fatalf("the server ended with %v", err)
	}
	return runningServer{}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// client trusts what the APIService says, as kube-apiserver does.
func (s runningServer) client(t *testing.T, certificates ...tls.Certificate) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.ca) {
		t.Fatal("the caBundle is no certificate")
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: "knit-service.knit-system.svc", Certificates: certificates, MinVersion: tls.VersionTLS12,
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestWholeServer(t *testing.T) {
	r := newRegistry(t)
	s := start(t, r)
	content, digest := gzipped(t, 5<<20)
	until(t, s)
	cases := []struct {
		name, method, namespace string
		header                  map[string]string
		proxied                 bool
		code                    int
	}{
		{name: "nobody", method: "PUT", namespace: "alice", code: 403},
		{name: "unknown token", method: "PUT", namespace: "alice", header: map[string]string{"Authorization": "Bearer x"}, code: 401},
		{name: "bob in alice's", method: "PUT", namespace: "alice", header: map[string]string{"Authorization": "Bearer token-of-bob"}, code: 403},
		{name: "alice in bob's", method: "PUT", namespace: "bob", header: map[string]string{"Authorization": "Bearer token-of-alice"}, code: 403},
		{name: "forged proxy header", method: "PUT", namespace: "alice", header: map[string]string{"X-Remote-User": "alice"}, code: 403},
		{name: "alice by the aggregator", method: "PUT", namespace: "alice", header: map[string]string{"X-Remote-User": "alice"}, proxied: true, code: 201},
		{name: "alice by token", method: "GET", namespace: "alice", header: map[string]string{"Authorization": "Bearer token-of-alice"}, code: 200},
		{name: "alice deletes", method: "DELETE", namespace: "alice", header: map[string]string{"Authorization": "Bearer token-of-alice"}, code: 403},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := s.client(t)
			if c.proxied {
				client = s.client(t, s.proxy)
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.url+sourcePath(c.namespace, digest), bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range c.header {
				req.Header.Set(key, value)
			}
			answer, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != c.code {
				body, _ := io.ReadAll(answer.Body)
				t.Errorf("%s %s, want %d", answer.Status, body, c.code)
			}
		})
	}
	checkDiscovery(t, s)
	if answer, err := s.client(t).Get(s.url + "/readyz"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("readyz: %v %v", answer, err)
	}
}

// until waits for the server to listen and to know the aggregator's authority:
// from then on it answers the aggregator about a source that nobody has.
func until(t *testing.T, s runningServer) {
	t.Helper()
	client := s.client(t, s.proxy)
	// Every try has a connection of its own: an old one knows no certificate.
	client.Transport.(*http.Transport).DisableKeepAlives = true
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+sourcePath("alice", "sha256:"+strings.Repeat("0", 64)), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Remote-User", "alice")
		if answer, err := client.Do(req); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusNotFound {
				return
			}
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the server never became ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// checkDiscovery asks as kubectl api-resources does.
func checkDiscovery(t *testing.T, s runningServer) {
	t.Helper()
	d, err := discovery.NewDiscoveryClientForConfig(&rest.Config{
		Host: s.url, BearerToken: "token-of-alice", TLSClientConfig: rest.TLSClientConfig{CAData: s.ca, ServerName: "knit-service.knit-system.svc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := d.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, list := range lists {
		for _, resource := range list.APIResources {
			found[list.GroupVersion+" "+resource.Name] = strings.Join(resource.Verbs, ",")
		}
	}
	if found["service.knit.dev/v1alpha1 sources"] != "get,update" || found["service.knit.dev/v1alpha1 builds/log"] != "get" ||
		found["service.knit.dev/v1alpha1 builds/sbom"] != "get" {
		t.Errorf("found %v", found)
	}
	if _, ok := found["service.knit.dev/v1alpha1 builds"]; ok {
		t.Error("kubectl get builds would be ambiguous")
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{Registry: "x"}); err == nil || !strings.Contains(err.Error(), "Listen") {
		t.Errorf("got %v", err)
	}
}
