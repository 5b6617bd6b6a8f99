package controller

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

func sample() cloudevents.Event {
	e := cloudevents.New()
	e.SetID("i")
	e.SetType("t")
	e.SetSource("/s")
	e.SetTime(time.Unix(0, 0).UTC())
	_ = e.SetData(cloudevents.ApplicationJSON, []byte(`{"a":1}`))
	return e
}

func anywhere(netip.Addr) bool { return false }

func TestSend(t *testing.T) {
	cases := map[string]struct {
		status    int
		ok, final bool
	}{
		"taken":       {202, true, false},
		"bad request": {400, false, true},
		"no route":    {404, false, false},
		"busy":        {429, false, false},
		"broken":      {500, false, false},
		"starting":    {503, false, false},
		"moved":       {302, false, true},
		"too large":   {413, false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var header http.Header
			var body string
			var length int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				raw, _ := io.ReadAll(r.Body)
				header, body, length = r.Header, string(raw), r.ContentLength
				w.Header().Set("Location", "http://elsewhere.example")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, "the reason"+strings.Repeat("x", 100_000))
			}))
			defer server.Close()
			err := newHTTPSender(anywhere).Send(t.Context(), server.URL, sample())
			if (err == nil) != c.ok || Permanent(err) != c.final {
				t.Errorf("error %v, final %v", err, Permanent(err))
			}
			if err != nil && (!strings.Contains(err.Error(), "the reason") || len(err.Error()) > 500) {
				t.Errorf("error of %d bytes: %.300v", len(err.Error()), err)
			}
			if header.Get("Ce-Id") != "i" || header.Get("Ce-Time") != "1970-01-01T00:00:00Z" || body != `{"a":1}` || length != 7 {
				t.Errorf("received %v and %q (%d)", header, body, length)
			}
		})
	}
}

func TestWake(t *testing.T) {
	status, path := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.Method + " " + r.URL.Path
		w.WriteHeader(status)
	}))
	defer server.Close()
	sender := newHTTPSender(anywhere)
	if err := sender.Wake(t.Context(), server.URL+"/a"); err != nil || path != "GET /a/health/readiness" {
		t.Errorf("%s, error %v", path, err)
	}
	status = http.StatusServiceUnavailable
	if err := sender.Wake(t.Context(), server.URL); err == nil {
		t.Error("what is not ready counts as woken")
	}
	if err := NewHTTPSender().Wake(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("the machine itself: error %v", err)
	}
}

func TestTheMachinesOwnAddressesAreRefused(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, uri := range []string{server.URL, "http://localhost:1", "http://169.254.169.254/latest", "http://[::1]:1", "http://[::ffff:127.0.0.1]:1", "http://0.0.0.0:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := NewHTTPSender().Send(ctx, uri, sample())
		cancel()
		if !Permanent(err) || !strings.Contains(err.Error(), "not allowed to send") {
			t.Errorf("%s: error %v", uri, err)
		}
	}
}

func TestResolve(t *testing.T) {
	thing := func(kind, name, status string) client.Object {
		u := &unstructured.Unstructured{}
		raw := `{"apiVersion":"example.dev/v1","kind":"` + kind + `","metadata":{"namespace":"shop","name":"` + name + `"},"status":` + status + `}`
		if err := u.UnmarshalJSON([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		return u
	}
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	fn := &v1alpha1.Function{}
	fn.Namespace, fn.Name, fn.Status.Address = "shop", "hello", &v1alpha1.Address{URL: "http://hello.shop.svc.cluster.local"}
	other := fn.DeepCopy()
	other.Namespace, other.Name = "other", "secret"
	r := Addresses{Reader: reconciletest.Fake(t, scheme, nil, fn, other,
		thing("Broker", "ready", `{"address":{"url":"http://broker/shop/ready"}}`),
		thing("Broker", "several", `{"addresses":[{"name":"x"},{"url":"https://a"}]}`),
		thing("Broker", "new", `{}`), thing("Broker", "odd", `{"address":{"url":"not a url"}}`))}
	ref := func(apiVersion, kind, name string) v1alpha1.Destination {
		return v1alpha1.Destination{Ref: &v1alpha1.Reference{APIVersion: apiVersion, Kind: kind, Name: name}}
	}
	cases := map[string]struct {
		sink   v1alpha1.Destination
		want   string
		reason string
	}{
		"function":          {sink: ref("knit.dev/v1alpha1", "Function", "hello"), want: "http://hello.shop.svc.cluster.local"},
		"broker":            {sink: ref("example.dev/v1", "Broker", "ready"), want: "http://broker/shop/ready"},
		"several addresses": {sink: ref("example.dev/v1", "Broker", "several"), want: "https://a"},
		"kubernetes":        {sink: ref("v1", "Service", "plain"), want: "http://plain.shop.svc"},
		"uri":               {sink: v1alpha1.Destination{URI: "https://a.example/x"}, want: "https://a.example/x"},
		"other namespace":   {sink: ref("knit.dev/v1alpha1", "Function", "secret"), reason: "SinkNotFound"},
		"missing":           {sink: ref("knit.dev/v1alpha1", "Function", "gone"), reason: "SinkNotFound"},
		"not ready":         {sink: ref("example.dev/v1", "Broker", "new"), reason: "SinkNotReady"},
		"odd address":       {sink: ref("example.dev/v1", "Broker", "odd"), reason: "SinkNotFound"},
		"file":              {sink: v1alpha1.Destination{URI: "file:///etc/passwd"}, reason: "SinkNotFound"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), "shop", c.sink)
			reason := ""
			if u, ok := asUnresolved(err); ok {
				reason = u.Reason
			}
			if got != c.want || reason != c.reason {
				t.Errorf("%q, error %v; want %q, %q", got, err, c.want, c.reason)
			}
		})
	}
}

// The name of a function that is being made leads elsewhere for a moment: the
// next attempt must ask where it leads now, not go on over the old connection.
// Only events that go at once share one.
func TestEachAttemptFindsItsWayAnew(t *testing.T) {
	connections := map[string]int{}
	closed := make(chan struct{}, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr]++
		w.WriteHeader(http.StatusNotFound)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	sender := newHTTPSender(anywhere)
	for range 2 {
		for range 3 {
			if err := sender.Send(t.Context(), server.URL, sample()); err == nil || Permanent(err) {
				t.Fatalf("error %v, want one that may pass", err)
			}
		}
		<-closed
	}
	if len(connections) != 2 {
		t.Errorf("attempts by connection: %v, want two connections", connections)
	}
}
