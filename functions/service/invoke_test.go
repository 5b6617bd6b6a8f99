package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/invocation"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func aFunction(name string) *v1alpha1.Function {
	return &v1alpha1.Function{
		ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name, UID: types.UID("uid-" + name)},
		// Whoever may write a status could name any address there.
		Status: v1alpha1.FunctionStatus{URL: "http://169.254.169.254", Address: &v1alpha1.Address{URL: "http://169.254.169.254"}},
	}
}

// aService is the Knative Service of a function, with a status that lies.
func aService(name, ownerUID string) *servingv1.Service {
	s := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindFunction, Name: name, UID: types.UID(ownerUID), Controller: ptr.To(true),
	}}}}
	s.Status.URL = apis.HTTP("169.254.169.254")
	return s
}

func anIngress(name, gateway string) *netv1alpha1.Ingress {
	in := &netv1alpha1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name},
		Spec: netv1alpha1.IngressSpec{Rules: []netv1alpha1.IngressRule{
			{Visibility: netv1alpha1.IngressVisibilityExternalIP, Hosts: []string{name + ".alice.svc.example.com"}},
			{Visibility: netv1alpha1.IngressVisibilityClusterLocal, Hosts: []string{name + ".alice", name + ".alice.svc", name + ".alice.svc.cluster.local"}},
			{Visibility: netv1alpha1.IngressVisibilityClusterLocal, Hosts: []string{"canary-" + name + ".alice.svc.cluster.local"}},
		}},
	}
	if gateway != "" {
		in.Status.PrivateLoadBalancer = &netv1alpha1.LoadBalancerStatus{Ingress: []netv1alpha1.LoadBalancerIngressStatus{{DomainInternal: gateway}}}
	}
	return in
}

// aGateway answers as the functions behind it would, and tells what it was asked.
func aGateway(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<a href="/x">x</a>`)
		case "/forbidden":
			http.Error(w, `{"kind":"Status","code":403}`, http.StatusForbidden)
		case "/slow":
			<-r.Context().Done()
		case "/stream":
			fmt.Fprint(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/broken":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "part")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "%s %s host=%s auth=%q user=%q knative=%q x=%q body=%s", r.Method, r.RequestURI, r.Host,
				r.Header.Get("Authorization"), r.Header.Get("X-Remote-User"), r.Header.Get("Knative-Serving-Namespace"), r.Header["X-Extra"], body)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// invokeServer serves functions behind a gateway named "gateway.test". A
// connection to anywhere else fails the test.
func invokeServer(t *testing.T, timeout time.Duration, objects ...client.Object) *httptest.Server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	gateway := aGateway(t)
	transport := newInvokeTransport()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "gateway.test:80" {
			t.Errorf("dialled %s", address)
			return nil, fmt.Errorf("dialled %s", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, gateway.Listener.Addr().String())
	}
	t.Cleanup(transport.CloseIdleConnections)
	a := &api{invoke: &invokeHandler{
		routes:    routes{reader: clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()},
		transport: transport, calls: newSlots(4), timeout: timeout,
	}}
	s := httptest.NewServer(withPaths(a))
	t.Cleanup(s.Close)
	return s
}

// working are the objects of a function that answers.
func working(name string) []client.Object {
	return []client.Object{aFunction(name), aService(name, "uid-"+name), anIngress(name, "gateway.test")}
}

func invoke(t *testing.T, ctx context.Context, s *httptest.Server, name, method, path string, body io.Reader, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+invocation.Path("alice", name, method, path), body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	// What kube-apiserver's proxy, or a careless client, brings along.
	r.Header.Set("Authorization", "Bearer of-kubernetes")
	r.Header.Set("X-Remote-User", "alice")
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func TestInvokeCarriesTheRequestAndTheAnswer(t *testing.T) {
	s := invokeServer(t, time.Minute, working("hello")...)
	const host = " host=hello.alice.svc.cluster.local"
	cases := map[string]struct {
		reason, method, path, body string
		header                     http.Header
		status, want               string
		carried                    http.Header
	}{
		"path and query": {
			reason: "the function sees the path as it was meant", method: "GET", path: "/a%2Fb?page=2",
			status: "200", want: `GET /a%2Fb?page=2` + host + ` auth="" user="" knative="" x=[] body=`,
		},
		"body and headers": {
			reason: "only what was wrapped arrives: no login of Kubernetes, no caller", path: "/", body: "hi",
			header: http.Header{"Knit-Header-X-Extra": {"1", "2"}, "X-Extra": {"no"}},
			status: "200", want: `POST /` + host + ` auth="" user="" knative="" x=["1" "2"] body=hi`,
		},
		"steering": {
			reason: "headers choose no other function", method: "GET", header: http.Header{
				"Knit-Header-Host": {"other.bob.svc"}, "Knit-Header-Knative-Serving-Namespace": {"bob"}, "Knit-Header-Authorization": {"Bearer own"},
			},
			status: "200", want: `GET /` + host + ` auth="Bearer own" user="" knative="" x=[] body=`,
		},
		"an authority in the path": {
			reason: "the path names no other host", method: "GET", path: "//evil.example/x",
			status: "200", want: `GET //evil.example/x` + host + ` auth="" user="" knative="" x=[] body=`,
		},
		"redirect": {
			reason: "a redirect is an answer and is not followed", method: "GET", path: "/redirect",
			status: "302", want: "<a href=\"http://169.254.169.254/\">Found</a>.\n\n", carried: http.Header{"Location": {"http://169.254.169.254/"}},
		},
		"html": {
			reason: "kube-apiserver rewrites links in HTML: it must not see any", method: "GET", path: "/html",
			status: "200", want: `<a href="/x">x</a>`, carried: http.Header{"Content-Type": {"text/html"}},
		},
		"an error of the function": {
			reason: "it must not look like one of the API", method: "GET", path: "/forbidden",
			status: "403", want: "{\"kind\":\"Status\",\"code\":403}\n", carried: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answer := invoke(t, t.Context(), s, "hello", c.method, c.path, strings.NewReader(c.body), c.header)
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/octet-stream" || answer.Header.Get("Location") != "" {
				t.Errorf("%s: the answer of the API is %s %v", c.reason, answer.Status, answer.Header)
			}
			if got := answer.Header.Get(invocation.HeaderStatus); got != c.status || string(body) != c.want {
				t.Errorf("%s: got %s %q, want %s %q", c.reason, got, body, c.status, c.want)
			}
			carried := invocation.Unwrap(answer.Header)
			for name, want := range c.carried {
				if diff := cmp.Diff(want, carried[name]); diff != "" {
					t.Errorf("%s: header %s: -want +got\n%s", c.reason, name, diff)
				}
			}
		})
	}
}

func TestInvokeRefuses(t *testing.T) {
	objects := append(working("hello"),
		aFunction("new"),
		aFunction("taken"), aService("taken", "uid-of-somebody"), anIngress("taken", "gateway.test"),
		aFunction("routing"), aService("routing", "uid-routing"), anIngress("routing", ""),
		aService("service-only", ""), anIngress("service-only", "gateway.test"),
	)
	s := invokeServer(t, time.Minute, objects...)
	tooLarge := bytes.NewReader(make([]byte, maxInvokeBody+1))
	cases := map[string]struct {
		name, method, path string
		body               io.Reader
		code               int
		want, reason       string
	}{
		"nobody":            {name: "nobody", code: 404, want: `"nobody" not found`},
		"no function":       {name: "service-only", code: 404, want: "not found", reason: "other Knative Services are not Knit's to call"},
		"just made":         {name: "new", code: 503, want: "knit describe new -n alice"},
		"somebody else's":   {name: "taken", code: 503, want: "cannot be called", reason: "a Service of the same name that the Function does not own is not the Function"},
		"no gateway":        {name: "routing", code: 503, want: "the ingress of this cluster"},
		"tunnel":            {name: "hello", method: "CONNECT", code: 400, want: `"CONNECT" is none of GET`},
		"lower case":        {name: "hello", method: "get", code: 400, want: `"get" is none of`},
		"URL for a path":    {name: "hello", path: "http://evil.example/", code: 400, want: "must begin with /"},
		"broken path":       {name: "hello", path: "/%zz", code: 400, want: "no path with a query"},
		"endless path":      {name: "hello", path: "/" + strings.Repeat("a", maxInvokePath), code: 400, want: "at most 8192 bytes"},
		"large body":        {name: "hello", body: tooLarge, code: 413, want: "limit of 10485760 bytes"},
		"large in chunks":   {name: "hello", body: io.LimitReader(zeros{}, maxInvokeBody+1), code: 413, want: "limit of 10485760 bytes", reason: "a body without a length is counted"},
		"just small enough": {name: "hello", body: io.LimitReader(zeros{}, maxInvokeBody), code: 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answer := invoke(t, t.Context(), s, c.name, c.method, c.path, c.body, nil)
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != c.code || !strings.Contains(string(body), strings.ReplaceAll(c.want, `"`, `\"`)) && c.code != 200 {
				t.Errorf("%d %.300q, want %d %q: %s", answer.StatusCode, body, c.code, c.want, c.reason)
			}
		})
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+invocation.Path("alice", "hello", "", ""), nil)
	if answer, err := s.Client().Do(r); err != nil || answer.StatusCode != 405 {
		t.Errorf("GET: %v %v, want 405: another verb is another right", answer, err)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+invocation.Path("alice", "hello", "", ""), nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	if answer, err := s.Client().Do(r); err != nil || answer.StatusCode != 400 {
		t.Errorf("upgrade: %v %v, want 400", answer, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestInvokeStreamsAndEndsInTime(t *testing.T) {
	s := invokeServer(t, 300*time.Millisecond, working("hello")...)
	answer := invoke(t, t.Context(), s, "hello", "GET", "/slow", nil, nil)
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 504 || !strings.Contains(string(body), "did not answer within 300ms") {
		t.Errorf("%d %s, want 504", answer.StatusCode, body)
	}
	answer = invoke(t, t.Context(), s, "hello", "GET", "/stream", nil, nil)
	first := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "first" {
		t.Fatalf("%q, %v: what the function sent must come while it goes on", first, err)
	}
	for path, reason := range map[string]string{"/stream": "a stream that takes too long", "/broken": "an answer that breaks off"} {
		answer = invoke(t, t.Context(), s, "hello", "GET", path, nil, nil)
		if _, err := io.ReadAll(answer.Body); err == nil {
			t.Errorf("%s must not look whole", reason)
		}
	}
}

func TestInvokeIsBoundedForEachNamespace(t *testing.T) {
	s := invokeServer(t, time.Minute, working("hello")...)
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 { // half of 4
		answer := invoke(t, ctx, s, "hello", "GET", "/stream", nil, nil)
		if _, err := answer.Body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	answer := invoke(t, t.Context(), s, "hello", "GET", "/", nil, nil)
	if answer.StatusCode != 429 || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%s, Retry-After %q; want 429 and 1", answer.Status, answer.Header.Get("Retry-After"))
	}
	cancel()
	for t.Context().Err() == nil {
		answer := invoke(t, t.Context(), s, "hello", "GET", "/", nil, nil)
		if answer.StatusCode == 200 {
			return // a slot comes back when its caller is gone
		}
		if answer.StatusCode != 429 {
			t.Fatal(answer.Status)
		}
	}
}
