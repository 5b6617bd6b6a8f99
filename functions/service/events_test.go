package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/knit-dev/knit/functions/api/emission"
	"github.com/knit-dev/knit/functions/reconcile"
)

const (
	anEvent = `{"specversion":"1.0","id":"1","source":"/zürich","type":"paid","subject":"日本","data":{"n":"ü"},"tenant":"gold"}`
	noData  = `{"specversion":"1.0","id":"1","source":"/s","type":"paid"}`
)

func aBroker(name, address string) *eventingv1.Broker {
	b := &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name}}
	b.Status.Address = addressOf(address)
	return b
}

func aChannel(name, address string) *messagingv1.Channel {
	c := &messagingv1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: name}}
	c.Status.Address = addressOf(address)
	return c
}

func addressOf(text string) *duckv1.Addressable {
	if text == "" {
		return nil
	}
	u, err := apis.ParseURL(text)
	if err != nil {
		panic(err)
	}
	return &duckv1.Addressable{URL: u}
}

// anIngressOfBrokers notes what it was sent last.
func anIngressOfBrokers(t *testing.T) (url string, got *string) {
	t.Helper()
	got = new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = fmt.Sprintf("%s %s type=%s id=%s subject=%s tenant=%s auth=%q %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"),
			r.Header.Get("Ce-Id"), r.Header.Get("Ce-Subject"), r.Header.Get("Ce-Tenant"), r.Header.Get("Authorization"), body)
		switch r.URL.Path {
		case "/alice/moved":
			http.Redirect(w, r, "/alice/orders", http.StatusTemporaryRedirect)
		case "/alice/full":
			http.Error(w, "secret", http.StatusInsufficientStorage)
		case "/alice/slow":
			<-r.Context().Done()
		case "/alice/hangs-up":
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func eventServer(t *testing.T, refuse func(netip.Addr) bool, timeout time.Duration, objects ...client.Object) *httptest.Server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(withPaths(&api{events: &eventHandler{
		addresses: addresses{reader: clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()},
		client:    reconcile.Egress(timeout, refuse), calls: newSlots(4), timeout: timeout,
	}}))
	t.Cleanup(s.Close)
	return s
}

func everywhere(netip.Addr) bool { return false }

func emit(t *testing.T, s *httptest.Server, method, path, contentType string, body io.Reader) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	// What kube-apiserver's proxy, or a careless client, brings along.
	r.Header.Set("Authorization", "Bearer of-kubernetes")
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(raw)
}

func TestAnEventGoesToTheAddressOfItsObject(t *testing.T) {
	ingress, got := anIngressOfBrokers(t)
	both := aBroker("both", "https://127.0.0.1:1/alice/both")
	both.Status.Addresses = []duckv1.Addressable{*addressOf("https://127.0.0.1:1/alice/both"), *addressOf(ingress + "/alice/both")}
	s := eventServer(t, everywhere, time.Minute, both, aBroker("orders", ingress+"/alice/orders"), aChannel("line", ingress+"/line"))
	const (
		json   = "application/json"
		binary = ` id=1 subject=日本 tenant=gold auth="" {"n":"ü"}`
	)
	cases := map[string]struct{ reason, resource, name, mode, contentType, event, want string }{
		"binary":       {"attributes become headers", emission.Brokers, "orders", "", "", anEvent, "POST /alice/orders type=" + binary},
		"named binary": {"the same when it is said", emission.Brokers, "orders", emission.ModeBinary, emission.ContentType + "; charset=utf-8", anEvent, "POST /alice/orders type=" + binary},
		"structured": {"the event stays whole", emission.Brokers, "orders", emission.ModeStructured, json, anEvent,
			`POST /alice/orders type=application/cloudevents+json id= subject= tenant= auth="" {"specversion":"1.0","id":"1","source":"/z%C3%BCrich","type":"paid","subject":"日本","data":{"n":"ü"},"tenant":"gold"}`},
		"a channel": {"it is found by its own kind", emission.Channels, "line", "", json, anEvent, "POST /line type=" + binary},
		"no data":   {"an event need not have any", emission.Channels, "line", "", json, noData, `POST /line type= id=1 subject= tenant= auth="" `},
		"TLS too":   {"the address that needs no authority of its own is taken", emission.Brokers, "both", "", json, noData, `POST /alice/both type= id=1 subject= tenant= auth="" `},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, answer := emit(t, s, http.MethodPost, emission.Path("alice", c.resource, c.name, c.mode), c.contentType, strings.NewReader(c.event))
			if code != http.StatusOK || answer != "{\"status\":202}\n" {
				t.Errorf("%s: answered %d %s", c.reason, code, answer)
			}
			if *got != c.want {
				t.Errorf("%s: sent\n%s\nwant\n%s", c.reason, *got, c.want)
			}
		})
	}
}

func TestAnEventIsRefused(t *testing.T) {
	ingress, _ := anIngressOfBrokers(t)
	waiting := aBroker("waiting", "")
	waiting.Status.Conditions = duckv1.Conditions{{Type: apis.ConditionReady, Status: "False", Reason: "NoIngress", Message: "it is away"}}
	s := eventServer(t, everywhere, 300*time.Millisecond,
		aBroker("orders", ingress+"/alice/orders"), aBroker("moved", ingress+"/alice/moved"), aBroker("full", ingress+"/alice/full"),
		aBroker("slow", ingress+"/alice/slow"), aBroker("hangs-up", ingress+"/alice/hangs-up"), aBroker("new", ""), waiting)
	large := `{"specversion":"1.0","id":"1","source":"/s","type":"x","data":"` + strings.Repeat("a", emission.MaxBody) + `"}`
	brokers := func(name string) string { return emission.Path("alice", emission.Brokers, name, "") }
	cases := map[string]struct {
		method, path, contentType string
		body                      io.Reader
		code                      int
		want                      string
	}{
		"nobody":               {path: brokers("nobody"), code: 404, want: `brokers.eventing.knative.dev "nobody" not found`},
		"another kind":         {path: emission.Path("alice", emission.Channels, "orders", ""), code: 404, want: `channels.messaging.knative.dev "orders" not found`},
		"another namespace":    {path: emission.Path("bob", emission.Brokers, "orders", ""), code: 404, want: "not found"},
		"another resource":     {path: emission.Path("alice", "functions", "orders", ""), code: 404, want: "does not exist"},
		"no address":           {path: brokers("new"), code: 503, want: "broker alice/new has no address yet; see `knit broker describe new -n alice`"},
		"no address, and why":  {path: brokers("waiting"), code: 503, want: "has no address yet: NoIngress: it is away; see"},
		"read":                 {method: "GET", path: brokers("orders"), code: 405, want: "use one of POST"},
		"no mode":              {path: brokers("orders") + "?mode=batch", code: 400, want: `mode="batch" is neither binary nor structured`},
		"a batch":              {path: brokers("orders"), contentType: "application/cloudevents-batch+json", code: 415, want: "send one event"},
		"nothing":              {path: brokers("orders"), body: strings.NewReader(""), code: 400, want: "no JSON"},
		"two events":           {path: brokers("orders"), body: strings.NewReader(noData + noData), code: 400, want: "no JSON"},
		"an array":             {path: brokers("orders"), body: strings.NewReader("[" + noData + "]"), code: 400, want: "no valid CloudEvent"},
		"another specversion":  {path: brokers("orders"), body: strings.NewReader(strings.Replace(noData, "1.0", "2.0", 1)), code: 400, want: "no valid CloudEvent"},
		"no id":                {path: brokers("orders"), body: strings.NewReader(strings.Replace(noData, `"id":"1",`, "", 1)), code: 400, want: "id: MUST be a non-empty string"},
		"a header in a header": {path: brokers("orders"), body: strings.NewReader(strings.Replace(noData, `"/s"`, `"/s\r\nX-Evil: 1"`, 1)), code: 400, want: ""},
		"control characters":   {path: brokers("orders"), body: strings.NewReader(strings.Replace(noData, `"type"`, `"subject":"a\nb","type"`, 1)), code: 400, want: "the attribute subject has control characters"},
		"too large":            {path: brokers("orders"), body: strings.NewReader(large), code: 413, want: "limit of 2097152 bytes"},
		"too large in chunks":  {path: brokers("orders"), body: io.MultiReader(strings.NewReader(large)), code: 413, want: "limit of 2097152 bytes"},
		"a redirect":           {path: brokers("moved"), code: 200, want: `{"status":307}`},
		"an error":             {path: brokers("full"), code: 200, want: `{"status":507}`},
		"too slow":             {path: brokers("slow"), code: 504, want: "broker alice/slow did not answer within 300ms; whether it has the event is not known"},
		"broken off":           {path: brokers("hangs-up"), code: 503, want: "send to broker alice/hangs-up"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodPost
			}
			if c.body == nil {
				c.body = strings.NewReader(noData)
			}
			code, answer := emit(t, s, c.method, c.path, c.contentType, c.body)
			if code != c.code || !strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), c.want) {
				t.Errorf("answered %d %.300s\nwant %d with %s", code, answer, c.code, c.want)
			}
			if strings.Contains(answer, "secret") {
				t.Error("what the target says is told")
			}
		})
	}
}

// Those who may edit a namespace can write the status of its Brokers.
func TestAnEventGoesToNoAddressOfTheMachine(t *testing.T) {
	ingress, got := anIngressOfBrokers(t)
	s := eventServer(t, reconcile.Forbidden, time.Minute,
		aBroker("local", ingress), aBroker("named", strings.Replace(ingress, "127.0.0.1", "localhost", 1)), aBroker("metadata", "http://169.254.169.254/latest"), aBroker("file", "file:///etc/passwd"))
	for name, code := range map[string]int{"local": 400, "named": 400, "metadata": 400, "file": 503} {
		status, answer := emit(t, s, http.MethodPost, emission.Path("alice", emission.Brokers, name, ""), "", strings.NewReader(noData))
		if status != code || *got != "" {
			t.Errorf("%s: answered %d %s, sent %q; want %d and nothing sent", name, status, answer, *got, code)
		}
	}
}

func TestSendingIsBoundedForEachNamespace(t *testing.T) {
	arrived := make(chan struct{})
	held := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer held.Close()
	s := eventServer(t, everywhere, time.Minute, aBroker("slow", held.URL))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 { // half of 4
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+emission.Path("alice", emission.Brokers, "slow", ""), strings.NewReader(noData))
		go func() { _, _ = s.Client().Do(r) }()
		<-arrived
	}
	if code, answer := emit(t, s, http.MethodPost, emission.Path("alice", emission.Brokers, "slow", ""), "", strings.NewReader(noData)); code != 429 {
		t.Errorf("answered %d %s, want 429", code, answer)
	}
}
