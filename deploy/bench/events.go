package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

var (
	brokerResource  = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "brokers"}
	triggerResource = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "triggers"}
)

const (
	inFlight = 32               // events that are sent at once
	quiet    = 10 * time.Second // after which what has not come is lost
)

// broker is one of the class that -broker-class names, with a number of
// triggers. Each event matches one trigger; all triggers look at all events.
type broker struct {
	bench     *bench
	kube      *kubernetes.Clientset
	objects   *dynamic.DynamicClient
	namespace string
	url, host string
	triggers  int
	receiver  receiver
	client    *http.Client
	sent      atomic.Int64
}

// newBroker returns one whose every trigger delivers.
func (b *bench) newBroker(ctx context.Context, triggers int, delivery map[string]any) (*broker, error) {
	kube, objects, err := b.clients()
	if err != nil {
		return nil, err
	}
	k := &broker{bench: b, kube: kube, objects: objects, triggers: triggers, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}}
	k.receiver.network = b.name
	if err := k.receiver.listen(&k.receiver); err != nil {
		return nil, err
	}
	ns, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-events-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	k.namespace = ns.Name
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": map[string]any{"name": "bench"}}}
	if b.brokerClass != "" {
		o.SetAnnotations(map[string]string{"eventing.knative.dev/broker.class": b.brokerClass})
	}
	if _, err := objects.Resource(brokerResource).Namespace(k.namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	for n := range triggers {
		if err := k.trigger(ctx, n, delivery); err != nil {
			return nil, err
		}
	}
	if err := k.locate(ctx); err != nil {
		return nil, err
	}
	return k, k.warm(ctx)
}

func (k *broker) trigger(ctx context.Context, n int, delivery map[string]any) error {
	spec := map[string]any{
		"broker": "bench", "filters": []any{map[string]any{"exact": map[string]any{"type": eventType(n)}}},
		"subscriber": map[string]any{"uri": "http://" + k.receiver.address + "/"},
	}
	if delivery != nil {
		spec["delivery"] = delivery
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": map[string]any{"name": fmt.Sprintf("bench-%d", n)}, "spec": spec,
	}}
	_, err := k.objects.Resource(triggerResource).Namespace(k.namespace).Create(ctx, o, metav1.CreateOptions{})
	return err
}

func eventType(n int) string { return fmt.Sprintf("bench.%d", n) }

// locate waits for the broker's address. The machine has no entry of it in any
// DNS, so it is called by the address of its Service.
func (k *broker) locate(ctx context.Context) error {
	for {
		o, err := k.objects.Resource(brokerResource).Namespace(k.namespace).Get(ctx, "bench", metav1.GetOptions{})
		if err != nil {
			return err
		}
		raw, _, _ := unstructured.NestedString(o.Object, "status", "address", "url")
		if host, path, found := strings.Cut(strings.TrimPrefix(raw, "http://"), "/"); found {
			name := strings.Split(host, ".")
			service, err := k.kube.CoreV1().Services(name[1]).Get(ctx, name[0], metav1.GetOptions{})
			if err != nil {
				return err
			}
			k.url, k.host = "http://"+service.Spec.ClusterIP+"/"+path, host
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// warmUp is how long a broker may take until all its triggers deliver.
const warmUp = 3 * time.Minute

// warm sends to each trigger until it delivers.
func (k *broker) warm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmUp)
	defer cancel()
	l := k.receiver.open()
	for n := range k.triggers {
		for came := false; !came; {
			id := k.post(ctx, l, n, 16)
			for range 20 {
				if err := sleep(ctx, 25*time.Millisecond); err != nil {
					return err
				}
				l.mu.Lock()
				came = l.came[id] > 0
				l.mu.Unlock()
				if came {
					break
				}
			}
		}
	}
	return nil
}

// post sends one event for a trigger and returns its id; the ledger knows
// whether it was accepted.
func (k *broker) post(ctx context.Context, l *ledger, trigger, size int) string {
	id := fmt.Sprint(k.sent.Add(1))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, bytes.NewReader(bytes.Repeat([]byte("x"), size)))
	if err != nil {
		return id
	}
	req.Host = k.host
	for name, value := range map[string]string{"Ce-Id": id, "Ce-Specversion": "1.0", "Ce-Type": eventType(trigger), "Ce-Source": "bench", "Content-Type": "text/plain"} {
		req.Header.Set(name, value)
	}
	l.send(id)
	resp, err := k.client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err != nil || resp.StatusCode/100 != 2 {
		l.refuse(id)
	}
	return id
}

// burst sends events as fast as they are accepted and waits for the last one.
func (k *broker) burst(ctx context.Context, count, size int) (*ledger, time.Duration, error) {
	l := k.receiver.open()
	begin := time.Now()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range inFlight {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(count) && ctx.Err() == nil; n = next.Add(1) {
				k.post(ctx, l, int(n)%k.triggers, size)
			}
		})
	}
	wg.Wait()
	err := l.settled(ctx, quiet)
	took := time.Since(begin)
	if _, _, never := l.balance(); never > 0 {
		took -= quiet
	}
	return l, took, err
}

// steady sends events on a fixed timetable, whatever becomes of them.
func (k *broker) steady(ctx context.Context, perSecond float64, d time.Duration, size int) (*ledger, error) {
	l := k.receiver.open()
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer tick.Stop()
	for n := range int(d.Seconds() * perSecond) {
		select {
		case <-ctx.Done():
			return l, ctx.Err()
		case <-tick.C:
		}
		wg.Go(func() { k.post(ctx, l, n%k.triggers, size) })
	}
	wg.Wait()
	return l, l.settled(ctx, quiet)
}

func (k *broker) remove(ctx context.Context) {
	_ = k.kube.CoreV1().Namespaces().Delete(ctx, k.namespace, metav1.DeleteOptions{PropagationPolicy: &background})
	_ = k.receiver.server.Close()
}

// The number of triggers, and how many events a burst of them has.
func (b *bench) measureTriggers1(ctx context.Context) ([]figure, error) {
	return b.measureTriggers(ctx, 1, 2000)
}

func (b *bench) measureTriggers10(ctx context.Context) ([]figure, error) {
	return b.measureTriggers(ctx, 10, 1000)
}

func (b *bench) measureTriggers100(ctx context.Context) ([]figure, error) {
	return b.measureTriggers(ctx, 100, 100)
}

// measureTriggers takes throughput in bursts, and latency at half of that.
func (b *bench) measureTriggers(ctx context.Context, triggers, count int) ([]figure, error) {
	k, err := b.newBroker(ctx, triggers, nil)
	if err != nil {
		return nil, err
	}
	defer k.remove(context.WithoutCancel(ctx))
	var figures []figure
	for _, size := range []int{1_000, 20_000} {
		name := fmt.Sprintf("%d triggers, events of %d kB", triggers, size/1000)
		throughput, lost := samples{unit: "/s", more: true}, 0
		for range min(b.samples, 5) {
			l, took, err := k.burst(ctx, count, size)
			if err != nil {
				return nil, err
			}
			once, more, never := l.balance()
			throughput.values = append(throughput.values, float64(once+more)/took.Seconds())
			lost += never
		}
		l, err := k.steady(ctx, max(1, throughput.at(0.5)/2), duration, size)
		if err != nil {
			return nil, err
		}
		memory, err := k.memory(ctx)
		if err != nil {
			return nil, err
		}
		once, more, never := l.balance()
		figures = append(figures,
			figure{name + ": events delivered, bursts of " + fmt.Sprintf("%d, lost %d", count, lost), "", throughput},
			figure{fmt.Sprintf("– sent → received at half of that rate (came once %d, more often %d, never %d)", once, more, never), "", l.latency},
			figure{"– the same, p99", "", samples{values: []float64{l.latency.at(0.99)}}},
			figure{"– working set of knative-eventing after that", "", memory})
	}
	return figures, nil
}
