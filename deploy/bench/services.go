package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

var serviceResource = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}

// deployed is a number of Knative Services of a static Go server.
type deployed struct {
	kube    *kubernetes.Clientset
	objects *dynamic.DynamicClient
	client  *http.Client
	count   int
}

// deploy makes services like those of Functions, which get no token of the
// cluster; with token they are like services that nobody gave a thought.
func (b *bench) deploy(ctx context.Context, count int, token bool) (*deployed, error) {
	d, err := b.through()
	if err != nil {
		return nil, err
	}
	d.count = count
	spec := map[string]any{"containers": []any{map[string]any{"image": b.image}}}
	if !token { // Knative refuses the field when it is true
		spec["automountServiceAccountToken"] = false
	}
	for n := range count {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": map[string]any{"name": serviceName(n)},
			"spec": map[string]any{"template": map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{"autoscaling.knative.dev/window": "6s"}},
				"spec":     spec,
			}},
		}}
		if _, err := d.objects.Resource(serviceResource).Namespace("default").Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "bench", Force: true}); err != nil {
			return nil, err
		}
		if err := d.answers(ctx, n); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// through is the way to services, by the API and the gateway.
func (b *bench) through() (*deployed, error) {
	kube, objects, err := b.clients()
	if err != nil {
		return nil, err
	}
	return &deployed{kube: kube, objects: objects, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", b.gatewayPort))
		},
		MaxIdleConnsPerHost: 64,
	}}}, nil
}

func serviceName(n int) string { return fmt.Sprintf("bench-%d", n) }

// answers asks a service until it says 200.
func (d *deployed) answers(ctx context.Context, n int) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := d.ask(ctx, "http://"+serviceName(n)+".default.knit.localhost/")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w", serviceName(n), err)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (d *deployed) ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// wantsNone waits until Knative wants no pod of any service; the last ones may
// still be ending.
func (d *deployed) wantsNone(ctx context.Context) error {
	for {
		list, err := d.kube.AppsV1().Deployments("default").List(ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/service"})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list.Items, func(w appsv1.Deployment) bool { return *w.Spec.Replicas > 0 }) {
			return nil
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// atZero waits until no pod of any service is left.
func (d *deployed) atZero(ctx context.Context) error {
	for {
		pods, err := d.kube.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/service"})
		if err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return sleep(ctx, 2*time.Second) // endpoints and autoscaler settle
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (d *deployed) remove(ctx context.Context) {
	for n := range d.count {
		_ = d.objects.Resource(serviceResource).Namespace("default").Delete(ctx, serviceName(n), metav1.DeleteOptions{PropagationPolicy: &background})
	}
}
