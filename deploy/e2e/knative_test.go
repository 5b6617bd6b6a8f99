//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
)

// apply makes the objects of a YAML text in the namespace.
func apply(t *testing.T, ns, text string) {
	t.Helper()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kube.Discovery()))
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		gvk := o.GroupVersionKind()
		m, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := objects.Resource(m.Resource).Namespace(ns).Apply(t.Context(), o.GetName(), &o, metav1.ApplyOptions{FieldManager: "e2e", Force: true}); err != nil {
			t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// ready waits until the object's condition Ready is true.
func ready(t *testing.T, ns, resource, name string) *unstructured.Unstructured {
	t.Helper()
	gvr, _ := schema.ParseResourceArg(resource)
	var last *unstructured.Unstructured
	err := poll(t.Context(), func(ctx context.Context) (bool, error) {
		o, err := objects.Resource(*gvr).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		last = o
		return conditionTrue(o, "Ready"), nil
	})
	if err != nil {
		t.Fatalf("%s %s is not ready: %v; status %v", resource, name, err, last.Object["status"])
	}
	return last
}

func conditionTrue(o *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}

func poll(ctx context.Context, condition func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := condition(ctx)
		if meta.IsNoMatchError(err) {
			err = nil // its kind is being installed
		}
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// viaGateway dials the gateway on the machine's loopback address, whatever the
// host: names below localhost have no entry in any DNS.
var viaGateway = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
	DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		port := os.Getenv("KNIT_GATEWAY_PORT")
		if port == "" {
			port = "80"
		}
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
	},
	DisableKeepAlives: true,
}}

func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := viaGateway.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func service(name string, env ...string) string {
	var vars strings.Builder
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		fmt.Fprintf(&vars, "        - {name: %s, value: %q}\n", k, v)
	}
	if vars.Len() == 0 {
		vars.WriteString("        []\n")
	}
	return fmt.Sprintf(`
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: %s}
spec:
  template:
    metadata:
      annotations: {autoscaling.knative.dev/window: 6s}
    spec:
      containers:
      - image: %s
        env:
%s---`, name, probeImage, vars.String())
}

func TestServiceGoesToZeroAndComesBack(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, ns, service("web", "GREETING=welcome"))
	o := ready(t, ns, "services.v1.serving.knative.dev", "web")
	url, _, _ := unstructured.NestedString(o.Object, "status", "url")
	if want := "http://web." + ns + ".knit.localhost"; url != want {
		t.Errorf("URL is %s, want %s", url, want)
	}
	for round := range 2 {
		if code, body := ask(t, url); code != 200 || !strings.Contains(body, "welcome") {
			t.Fatalf("round %d: answer %d %q", round, code, body)
		}
		eventually(t, "the service is scaled to zero", func(ctx context.Context) (bool, error) {
			pods, err := kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
			return err == nil && len(pods.Items) == 0, err
		})
	}
}

// send posts a CloudEvent to a cluster-internal address from inside the
// cluster's network, which the machine reaches.
func send(t *testing.T, ns, url, id, kind, data string) {
	t.Helper()
	host := strings.TrimPrefix(url, "http://")
	name, path, _ := strings.Cut(host, "/")
	parts := strings.Split(name, ".")
	svc, err := kube.CoreV1().Services(parts[1]).Get(t.Context(), parts[0], metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	target := svc.Spec.ClusterIP
	if target == "" { // a channel's service is an alias of the dispatcher
		alias := strings.Split(svc.Spec.ExternalName, ".")
		if svc, err = kube.CoreV1().Services(alias[1]).Get(t.Context(), alias[0], metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		target = svc.Spec.ClusterIP
	}
	eventually(t, "event "+id+" is accepted by "+url, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+target+"/"+path, bytes.NewBufferString(data))
		if err != nil {
			return false, err
		}
		req.Host = name
		for k, v := range map[string]string{"Ce-Id": id, "Ce-Specversion": "1.0", "Ce-Type": kind, "Ce-Source": "e2e", "Content-Type": "text/plain"} {
			req.Header.Set(k, v)
		}
		resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			return false, nil
		}
		resp.Body.Close()
		return resp.StatusCode/100 == 2, nil
	})
}

type received struct{ ID, Type, Source, Data string }

// gets waits until the sink has exactly the wanted data, in any order.
func gets(t *testing.T, ns, sink string, want ...string) {
	t.Helper()
	var have []string
	sort.Strings(want)
	err := poll(t.Context(), func(ctx context.Context) (bool, error) {
		have = nil
		for _, e := range events(ctx, ns, sink) {
			if !strings.HasPrefix(e.Data, warmUp) {
				have = append(have, e.Data)
			}
		}
		sort.Strings(have)
		return slices.Equal(have, want), nil
	})
	if err != nil {
		t.Fatalf("%s got %q, want %q", sink, have, want)
	}
}

// warmUp is the data of events that only find out whether a path is open.
const warmUp = "warm-up"

// open waits until events of the type sent to the address reach the sinks:
// the in-memory channel says Ready a moment before its dispatcher delivers, and
// keeps nothing of what comes in between.
func open(t *testing.T, ns, url, kind string, sinks ...string) {
	t.Helper()
	n := 0
	err := poll(t.Context(), func(ctx context.Context) (bool, error) {
		if n%20 == 0 {
			send(t, ns, url, fmt.Sprintf("%s-%d", warmUp, n), kind, warmUp)
		}
		n++
		for _, s := range sinks {
			if len(events(ctx, ns, s)) == 0 {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("no event gets from %s to all of %v: %v", url, sinks, err)
	}
}

func events(ctx context.Context, ns, sink string) []received {
	pod, err := kube.CoreV1().Pods(ns).Get(ctx, sink, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080/events", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var list []received
	_ = json.NewDecoder(resp.Body).Decode(&list)
	return list
}

// sinks are pods behind services: they stay, so that what they received can be asked for.
func sinks(t *testing.T, ns string, names ...string) {
	t.Helper()
	for _, n := range names {
		create(t, ns, probePod(n))
		makeService(t, ns, n, 80, 8080)
	}
	for _, n := range names {
		running(t, ns, n)
	}
}

func TestBrokerFiltersForTwoTriggers(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	sinks(t, ns, "orders", "all")
	trigger := func(name, filter string) string {
		return fmt.Sprintf(`
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: %s}
spec:
  broker: default
  %s
  subscriber: {ref: {apiVersion: v1, kind: Service, name: %s}}
---`, name, filter, name)
	}
	apply(t, ns, "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n---"+
		trigger("orders", "filters: [{exact: {type: order}}]")+trigger("all", ""))
	broker := ready(t, ns, "brokers.v1.eventing.knative.dev", "default")
	ready(t, ns, "triggers.v1.eventing.knative.dev", "orders")
	ready(t, ns, "triggers.v1.eventing.knative.dev", "all")
	url, _, _ := unstructured.NestedString(broker.Object, "status", "address", "url")
	open(t, ns, url, "order", "orders", "all")
	send(t, ns, url, "1", "order", "one")
	send(t, ns, url, "2", "other", "two")
	gets(t, ns, "all", "one", "two")
	gets(t, ns, "orders", "one")
}

func TestChannelDeliversToTwoSubscriptions(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	sinks(t, ns, "left", "right")
	subscription := func(name string) string {
		return fmt.Sprintf(`
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: %s}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: %s}}
---`, name, name)
	}
	apply(t, ns, "apiVersion: messaging.knative.dev/v1\nkind: Channel\nmetadata: {name: c}\n---"+subscription("left")+subscription("right"))
	channel := ready(t, ns, "channels.v1.messaging.knative.dev", "c")
	ready(t, ns, "subscriptions.v1.messaging.knative.dev", "left")
	ready(t, ns, "subscriptions.v1.messaging.knative.dev", "right")
	url, _, _ := unstructured.NestedString(channel.Object, "status", "address", "url")
	open(t, ns, url, "any", "left", "right")
	send(t, ns, url, "1", "any", "both")
	gets(t, ns, "left", "both")
	gets(t, ns, "right", "both")
}

func TestSequencePassesRepliesOn(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	sinks(t, ns, "end")
	apply(t, ns, service("first", "REPLY_TYPE=step", "SUFFIX=-first")+service("second", "REPLY_TYPE=step", "SUFFIX=-second")+`
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: s}
spec:
  channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}
  steps:
  - ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: first}
  - ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: second}
  reply: {ref: {apiVersion: v1, kind: Service, name: end}}
`)
	ready(t, ns, "services.v1.serving.knative.dev", "first")
	ready(t, ns, "services.v1.serving.knative.dev", "second")
	seq := ready(t, ns, "sequences.v1.flows.knative.dev", "s")
	url, _, _ := unstructured.NestedString(seq.Object, "status", "address", "url")
	open(t, ns, url, "begin", "end")
	send(t, ns, url, "1", "begin", "data")
	gets(t, ns, "end", "data-first-second")
}

func TestPingSourceSendsOnTime(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	sinks(t, ns, "clock")
	apply(t, ns, `
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: tick}
spec:
  schedule: "*/2 * * * * *"
  contentType: text/plain
  data: tick
  sink: {ref: {apiVersion: v1, kind: Service, name: clock}}
`)
	ready(t, ns, "pingsources.v1.sources.knative.dev", "tick")
	eventually(t, "two ticks arrive", func(ctx context.Context) (bool, error) {
		list := events(ctx, ns, "clock")
		return len(list) >= 2 && list[0].Data == "tick" && list[0].Type == "dev.knative.sources.ping", nil
	})
}
