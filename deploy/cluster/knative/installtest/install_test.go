// Package installtest runs the installation of Knative against a real etcd
// and kube-apiserver. Only nodes are missing: the test plays the controller
// manager, which reports workloads, and the webhooks' pods.
package installtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/knit-dev/knit/deploy/cluster/knative"
)

// startServer runs etcd and kube-apiserver until the test ends.
func startServer(t *testing.T) *rest.Config {
	t.Helper()
	c := embed.NewConfig()
	c.Dir, c.LogLevel = t.TempDir(), "error"
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{free}, []url.URL{free}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{free}, []url.URL{free}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	<-etcd.Server.ReadyNotify()

	dir := t.TempDir()
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"sa.key": key, "tokens": []byte("secret,admin,admin,system:masters\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	o := options.NewServerRunOptions()
	sets := o.Flags()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, s := range sets.FlagSets {
		flags.AddFlagSet(s)
	}
	if err := flags.Parse([]string{
		"--etcd-servers=http://" + etcd.Clients[0].Addr().String(),
		"--bind-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + dir,
		"--token-auth-file=" + filepath.Join(dir, "tokens"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://test", "--service-account-key-file=" + filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "sa.key"), "--service-cluster-ip-range=198.19.0.0/16",
	}); err != nil {
		t.Fatal(err)
	}
	completed, err := o.Complete(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, completed) }()
	t.Cleanup(func() { cancel(); <-done })
	cfg := &rest.Config{Host: "https://127.0.0.1:" + port, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for client.RESTClient().Get().AbsPath("/readyz").Do(t.Context()).Error() != nil {
		select {
		case err := <-done:
			done <- err
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return cfg
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func stages(t *testing.T, domain string) []knative.Stage {
	t.Helper()
	refs := map[string]string{}
	for _, c := range knative.Commands("../..") {
		refs[c.Package] = "198.18.0.1:5000/" + c.Name + "@sha256:" + strings.Repeat("0", 64)
	}
	out, err := knative.Manifests(t.Context(), knative.Options{
		ModuleDir: "../..", Images: refs, Domain: domain,
		IngressClass: "knit.ingress.networking.knative.dev", Registry: "198.18.0.1:5000",
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// playNode reports every workload as available and answers for the webhooks by
// taking their configurations away some time after they came.
func playNode(ctx context.Context, client kubernetes.Interface) {
	status := []byte(`{"status":{"observedGeneration":99,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`)
	for ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		for _, ns := range []string{knative.ServingNamespace, knative.EventingNamespace} {
			deployments, err := client.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for _, d := range deployments.Items {
				if d.Status.AvailableReplicas == 0 {
					_, _ = client.AppsV1().Deployments(ns).Patch(ctx, d.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
				}
			}
			sets, err := client.AppsV1().StatefulSets(ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for _, d := range sets.Items {
				if d.Status.AvailableReplicas == 0 {
					_, _ = client.AppsV1().StatefulSets(ns).Patch(ctx, d.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
				}
			}
		}
		hooks, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
		if err == nil && len(hooks.Items) > 0 {
			_ = client.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
			_ = client.AdmissionregistrationV1().MutatingWebhookConfigurations().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}
	}
}

// recorder keeps lines of progress.
type recorder struct {
	t     *testing.T
	start time.Time
	mu    sync.Mutex
	lines []string
}

func (r *recorder) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.t.Logf("%6.2fs %s", time.Since(r.start).Seconds(), line)
}

func TestInstall(t *testing.T) {
	cfg := startServer(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("names what is not ready", func(t *testing.T) { unready(t, cfg, client) })

	node, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { playNode(node, client) })
	t.Cleanup(func() { stop(); wg.Wait() })
	t.Run("goes on where it stopped", func(t *testing.T) {
		install(t, cfg, "knit.localhost")
		components, err := knative.Ready(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range components {
			if !c.Ready {
				t.Errorf("%s/%s is not ready: %s", c.Namespace, c.Name, c.Message)
			}
		}
	})
	t.Run("leaves alone what is there", func(t *testing.T) {
		for _, line := range install(t, cfg, "knit.localhost") {
			// The webhooks are those that the test itself took away.
			if !strings.HasPrefix(line, "webhooks: ") {
				t.Error(line)
			}
		}
	})
	t.Run("brings back and changes", func(t *testing.T) { changes(t, cfg, client) })
}

func install(t *testing.T, cfg *rest.Config, domain string) []string {
	t.Helper()
	r := &recorder{t: t, start: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := knative.Install(ctx, cfg, stages(t, domain), r.say); err != nil {
		t.Fatal(err)
	}
	return r.lines
}

// unready installs without anything that runs pods.
func unready(t *testing.T, cfg *rest.Config, client kubernetes.Interface) {
	all := stages(t, "knit.localhost")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	r := &recorder{t: t, start: time.Now()}
	err := knative.Install(ctx, cfg, all, r.say)
	if err == nil || !strings.Contains(err.Error(), "Deployment knative-serving/activator: 0 of 1 pods available") {
		t.Errorf("error %v", err)
	}
	if err := client.AppsV1().Deployments(knative.ServingNamespace).Delete(t.Context(), "activator", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	components, err := knative.Ready(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	messages := map[string]string{}
	for _, c := range components {
		messages[c.Name] = fmt.Sprint(c.Ready, " ", c.Message)
	}
	for name, want := range map[string]string{
		"activator":     "false missing; run `knit cluster up`",
		"autoscaler":    "false 0 of 1 pods available",
		"request-reply": "false 0 of 1 pods available",
	} {
		if messages[name] != want {
			t.Errorf("%s: %q, want %q", name, messages[name], want)
		}
	}
	if len(components) != 14 {
		t.Errorf("%d components, want 14", len(components))
	}
}

// changes: what a person changed stays, what is gone comes back, what changed
// in the settings is applied.
func changes(t *testing.T, cfg *rest.Config, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps(knative.ServingNamespace)
	byHand := []byte(`{"data":{"min-non-active-revisions":"7"}}`)
	if _, err := maps.Patch(t.Context(), "config-gc", types.MergePatchType, byHand, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), "config-features", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	install(t, cfg, "other.localhost")
	data := map[string]map[string]string{}
	for _, name := range []string{"config-gc", "config-features", "config-domain"} {
		cm, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data[name] = cm.Data
	}
	if got := data["config-gc"]["min-non-active-revisions"]; got != "7" {
		t.Errorf("the change by hand is %q now", got)
	}
	if _, old := data["config-domain"]["knit.localhost"]; old {
		t.Error("the old domain is still there")
	}
	if _, now := data["config-domain"]["other.localhost"]; !now {
		t.Error("the new domain is missing")
	}
}
