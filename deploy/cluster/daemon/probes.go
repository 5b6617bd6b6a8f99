package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// probeEvery is short because every component of the start waits for another.
const probeEvery = 25 * time.Millisecond

// poll repeats the probe until it succeeds; it is false when ctx ends first.
func poll(ctx context.Context, probe func(context.Context) error) bool {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		if probe(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// await marks a component ready when its probe succeeds.
func (d *daemon) await(ctx context.Context, name string, probe func(context.Context) error) {
	if poll(ctx, probe) {
		d.board.set(name, Ready, nil)
	}
}

func (d *daemon) always(context.Context) error { return nil }

func (d *daemon) restConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.certs.Kubeconfig("cluster"))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	return config, nil
}

func (d *daemon) apiServerReady(ctx context.Context) error {
	config, err := d.restConfig()
	if err != nil {
		return err
	}
	config.Timeout = 2 * time.Second
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	return get(ctx, client, d.Instance.URL()+"/readyz")
}

// nodeReady asks the kubelet itself and then the API: the kubelet writes the
// node's condition again only when it changed, so that after a short stop it
// still says Ready from before.
func (d *daemon) nodeReady(client kubernetes.Interface) func(context.Context) error {
	running := healthy("http://127.0.0.1:10248/healthz")
	return func(ctx context.Context) error {
		if err := running(ctx); err != nil {
			return err
		}
		node, err := client.CoreV1().Nodes().Get(ctx, instance.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("node is not ready")
	}
}

func (d *daemon) dnsReady(ctx context.Context) error {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("%s:%d", d.Instance.BridgeIP(), instance.DNSPort))
	}}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+instance.ClusterDomain+".")
	return err
}

// healthy probes a component's health endpoint. The certificates of
// controller-manager and scheduler are their own; the answer is not trusted
// with anything but its status.
func healthy(url string) func(context.Context) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: strings.HasPrefix(url, "https://127.0.0.1:")}, DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error { return get(ctx, client, url) }
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
