package gateway

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
)

// shows answers with the values of some request headers.
func shows(names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, name := range names {
			fmt.Fprintf(w, "%s=%q ", name, r.Header[http.CanonicalHeaderKey(name)])
		}
	}
}

func TestHostsPathsHeadersAndVisibility(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"root", "foo", "tagged", "inner"} {
		w.backend(name, "http", says(name))
	}
	foo := pathTo("foo")
	foo.Path = "/foo"
	tagged := pathTo("tagged")
	tagged.Headers = map[string]v1alpha1.HeaderMatch{"knative-serving-tag": {Exact: "next"}}
	only := pathTo("foo")
	only.Path = "/only"
	w.serve(ingressFor("main",
		rule(external, "a.test,B.test", tagged, foo, pathTo("root")),
		rule(external, "only.test", only),
		rule(local, "in.default.svc.cluster.local", pathTo("inner")),
	))

	for name, tc := range map[string]struct {
		address string
		url     string
		headers []string
		code    int
		want    string
	}{
		"catch all":             {w.http, "http://a.test/", nil, 200, "root for"},
		"second host, any case": {w.http, "http://b.TEST/x", nil, 200, "root for"},
		"host with port":        {w.http, "http://a.test:8080/", nil, 200, "root for a.test:8080"},
		"prefix":                {w.http, "http://a.test/foo/bar", nil, 200, "foo for"},
		"prefix is literal":     {w.http, "http://a.test/foobar", nil, 200, "foo for"},
		"header":                {w.http, "http://a.test/foo", []string{"Knative-Serving-Tag", "next"}, 200, "tagged for"},
		"other header value":    {w.http, "http://a.test/", []string{"Knative-Serving-Tag", "not-next"}, 200, "root for"},
		"empty header":          {w.http, "http://a.test/", []string{"Knative-Serving-Tag", ""}, 200, "root for"},
		"no path matches":       {w.http, "http://only.test/other", nil, 404, `no route for path "/other" of host "only.test"`},
		"unknown host":          {w.http, "http://c.test/", nil, 404, `no route for host "c.test"`},
		"local host, full":      {w.internal, "http://in.default.svc.cluster.local/", nil, 200, "inner for"},
		"local host, short":     {w.internal, "http://in.default.svc/", nil, 200, "inner for"},
		"local host, shortest":  {w.internal, "http://in.default/", nil, 200, "inner for in.default by"},
		"local host outside":    {w.http, "http://in.default/", nil, 404, "no route for host"},
		"external host inside":  {w.internal, "http://a.test/", nil, 404, "no route for host"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body, _ := w.get(tc.address, tc.url, tc.headers...)
			if code != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("got %d %s, want %d %s", code, body, tc.code, tc.want)
			}
		})
	}
}

func TestSplitsFollowThePercentages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := v1alpha1.HTTPIngressPath{AppendHeaders: map[string]string{"Where": "path", "Common": "yes"}}
	weights := map[string]int{"one": 70, "two": 20, "three": 10, "none": 0}
	for name, percent := range weights {
		w.backend(name, "http", shows("Where", "Common"))
		s := splitTo(name, percent)
		s.AppendHeaders = map[string]string{"Where": name}
		path.Splits = append(path.Splits, s)
	}
	w.serve(ingressFor("split", rule(external, "split.test", path)))
	seen := map[string]int{}
	c := client(w.http, false)
	const total = 2000
	for range total {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://split.test", nil)
		req.Header.Set("Where", "forged") // append means set
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 128)
		n, _ := res.Body.Read(buf)
		res.Body.Close()
		seen[strings.TrimSpace(string(buf[:n]))]++
	}
	for name, percent := range weights {
		got := float64(seen[fmt.Sprintf(`Where=[%q] Common=["yes"]`, name)]) / total * 100
		if math.Abs(got-float64(percent)) > 5 || percent == 0 && got > 0 {
			t.Errorf("%s got %.1f %% of the requests, want %d %%", name, got, percent)
		}
	}
	if len(seen) != 3 {
		t.Errorf("answers: %v", seen)
	}
}

// The gateway's own Services lead back to its listeners, in the way a
// DomainMapping does: another host is rewritten and goes through the
// cluster-local listener.
func TestRewriteHostThroughAnExternalNameService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("app", "http", shows("X-Forwarded-Host", "X-Forwarded-For", hopsHeader))
	w.alias("app-alias", "gateway-internal.knit-system.svc.cluster.local")
	w.serve(ingressFor("app", rule(local, "app-alias.default.svc.cluster.local", pathTo("app"))))
	vanity := pathTo("app-alias")
	vanity.RewriteHost = "app-alias.default.svc.cluster.local"
	w.serve(ingressFor("vanity", rule(external, "vanity.test", vanity)))
	code, body, _ := w.get(w.http, "http://vanity.test")
	want := `X-Forwarded-Host=["vanity.test"] X-Forwarded-For=["127.0.0.1, 127.0.0.1"] Knit-Gateway-Hops=[]`
	if code != http.StatusOK || body != want {
		t.Errorf("got %d %s\nwant %s", code, body, want)
	}
}

func TestCircleIsBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alias("round", "gateway-internal.knit-system.svc")
	w.serve(ingressFor("round", rule(local, "round.default.svc.cluster.local", pathTo("round"))))
	code, body, _ := w.get(w.internal, "http://round.default")
	if code != http.StatusLoopDetected || !strings.Contains(body, "Service default/round leads back") {
		t.Errorf("got %d %s", code, body)
	}
}

// alias creates a Service of type ExternalName.
func (w *world) alias(name, target string) {
	w.Helper()
	svc := service(name, "http2", 80)
	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, target
	w.create(w.kube.CoreV1().Services("default").Create(w.Context(), svc, metav1.CreateOptions{}))
}

func TestProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", shows(header.HashKey, header.ProbeKey))
	ing := ingressFor("x", rule(external, "x.test", pathTo("x")))
	ing.Spec.HTTPOption = v1alpha1.HTTPOptionRedirected
	w.serve(ing)
	hash := w.gateway.table.Load().external["x.test"].program.hash

	code, _, h := w.get(w.http, "http://x.test/healthz", header.ProbeKey, header.ProbeValue, header.HashKey, header.HashValueOverride)
	if code != http.StatusOK || h.Get(header.HashKey) != hash || len(hash) != 64 {
		t.Errorf("probe got %d %v, want hash %s", code, h, hash)
	}
	code, _, _ = w.get(w.http, "http://y.test/healthz", header.ProbeKey, header.ProbeValue, header.HashKey, header.HashValueOverride)
	if code != http.StatusNotFound {
		t.Errorf("probe for an unknown host got %d", code)
	}
	w.serve(ingressFor("y", rule(external, "y.test", pathTo("x"))))
	_, body, _ := w.get(w.http, "http://y.test", header.ProbeKey, header.ProbeValue, header.HashKey, "mine")
	if want := `K-Network-Hash=["mine"] K-Network-Probe=["probe"]`; body != want {
		t.Errorf("a probe with a hash of its own is for the backend: got %s", body)
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", says("x"))
	ing := ingressFor("x", rule(external, "x.test", pathTo("x")), rule(local, "x.default", pathTo("x")))
	ing.Spec.HTTPOption = v1alpha1.HTTPOptionRedirected
	w.serve(ing)
	code, _, h := w.get(w.http, "http://x.test:8080/a%20b?c=d")
	if code != http.StatusMovedPermanently || h.Get("Location") != "https://x.test/a%20b?c=d" {
		t.Errorf("got %d %v", code, h)
	}
	res, err := client(w.http, false).Post("http://x.test/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("POST got %s", res.Status)
	}
	if code, _, _ := w.get(w.internal, "http://x.default"); code != http.StatusOK {
		t.Errorf("cluster-local got %d", code)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", says("x"))
	w.serve(ingressFor("x", rule(external, "x.test", pathTo("x"))))
	st := w.status("x").Status
	if got := st.PublicLoadBalancer.Ingress[0].DomainInternal; got != "gateway.knit-system.svc.cluster.local" {
		t.Errorf("public: %s", got)
	}
	if got := st.PrivateLoadBalancer.Ingress[0].DomainInternal; got != "gateway-internal.knit-system.svc.cluster.local" {
		t.Errorf("private: %s", got)
	}
	if st.ObservedGeneration != 1 {
		t.Errorf("observed generation %d", st.ObservedGeneration)
	}
}

func TestIngressWaitsForEndpointsAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(w.networking.NetworkingV1alpha1().Ingresses("default").Create(t.Context(),
		ingressFor("late", rule(external, "late.test", pathTo("late"))), metav1.CreateOptions{}))
	reason := func(message string) func() bool {
		return func() bool {
			c := w.status("late").Status.GetCondition(v1alpha1.IngressConditionReady)
			return c != nil && !c.IsTrue() && strings.Contains(c.Message, message)
		}
	}
	w.eventually("status names the missing Service", reason("Service default/late does not exist"))
	w.service("late", "http")
	w.eventually("status names the missing endpoints", reason("Service default/late has no ready endpoints"))
	w.backend("pods", "http", says("late"))
	slices, err := w.kube.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "pods-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Name, slices.Labels, slices.ResourceVersion = "late-0", map[string]string{"kubernetes.io/service-name": "late"}, ""
	w.create(w.kube.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slices, metav1.CreateOptions{}))
	w.eventually("ready", func() bool { return w.status("late").IsReady() })
}

func TestUpdateAndDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("blue", "http", says("blue"))
	w.backend("green", "http", says("green"))
	ing := ingressFor("x", rule(external, "x.test", pathTo("blue")))
	w.serve(ing)
	next := w.status("x").DeepCopy()
	next.Generation, next.Spec = 2, ingressFor("x", rule(external, "x.test", pathTo("green"))).Spec
	ingresses := w.networking.NetworkingV1alpha1().Ingresses("default")
	w.create(ingresses.Update(t.Context(), next, metav1.UpdateOptions{}))
	w.eventually("generation 2 is ready", func() bool { return w.status("x").Status.ObservedGeneration == 2 && w.status("x").IsReady() })
	if _, body, _ := w.get(w.http, "http://x.test"); !strings.HasPrefix(body, "green") {
		t.Errorf("got %s", body)
	}
	if err := ingresses.Delete(t.Context(), "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the route is gone", func() bool {
		code, _, _ := w.get(w.http, "http://x.test")
		return code == http.StatusNotFound
	})
}

func TestOtherClassesAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", says("x"))
	foreign := ingressFor("foreign", rule(external, "foreign.test", pathTo("x")))
	foreign.Annotations = map[string]string{networking.IngressClassAnnotationKey: "istio.ingress.networking.knative.dev"}
	w.create(w.networking.NetworkingV1alpha1().Ingresses("default").Create(t.Context(), foreign, metav1.CreateOptions{}))
	w.serve(ingressFor("own", rule(external, "own.test", pathTo("x"))))
	if code, _, _ := w.get(w.http, "http://foreign.test"); code != http.StatusNotFound {
		t.Errorf("got %d", code)
	}
	if len(w.status("foreign").Status.Conditions) != 0 {
		t.Errorf("status was written: %+v", w.status("foreign").Status)
	}
}

func TestCRDMayComeLater(t *testing.T) {
	t.Parallel()
	w := stoppedWorld(t)
	w.run()
	w.eventually("an answer without routes", func() bool {
		code, _, _ := w.get(w.http, "http://x.test")
		return code == http.StatusNotFound
	})
	w.installCRD()
	w.watched()
	w.backend("x", "http", says("x"))
	w.serve(ingressFor("x", rule(external, "x.test", pathTo("x"))))
}

func TestServicesOfTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var svc *corev1.Service
	w.eventually("Services are applied", func() bool {
		_, err := w.kube.CoreV1().Services(Namespace).Get(t.Context(), serviceInternal, metav1.GetOptions{})
		svc, _ = w.kube.CoreV1().Services(Namespace).Get(t.Context(), serviceExternal, metav1.GetOptions{})
		return err == nil && len(svc.Status.LoadBalancer.Ingress) == 1
	})
	if got := svc.Status.LoadBalancer.Ingress[0].IP; got != "127.0.0.1" {
		t.Errorf("load balancer at %s", got)
	}
	for name, want := range map[string]map[string]string{
		serviceExternal: {"http2": w.http, "https": w.https},
		serviceInternal: {"http2": w.internal},
	} {
		slice, err := w.kube.DiscoveryV1().EndpointSlices(Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(slice.Ports) != len(want) {
			t.Errorf("%s has ports %v", name, slice.Ports)
		}
		for _, p := range slice.Ports {
			if got := fmt.Sprintf("%s:%d", slice.Endpoints[0].Addresses[0], *p.Port); got != want[*p.Name] {
				t.Errorf("%s %s leads to %s, want %s", name, *p.Name, got, want[*p.Name])
			}
		}
	}
}
