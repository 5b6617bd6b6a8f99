//go:build e2e

package functions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// tenant is a service account that may edit its own namespace and nothing else.
type tenant struct {
	config     *rest.Config
	kubeconfig string
	namespace  string
}

func newTenant(t *testing.T) tenant {
	t.Helper()
	admin, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	kube := kubernetes.NewForConfigOrDie(admin)
	namespace, err := makeNamespace(t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "developer"}}
	if _, err := kube.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "developer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "developer", Namespace: namespace}},
	}
	if _, err := kube.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "developer",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(3600))}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err = clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: admin.Host, CertificateAuthorityData: admin.CAData, CertificateAuthority: admin.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"developer": {Token: token.Status.Token}},
		Contexts:  map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "developer", Namespace: namespace}}, CurrentContext: "c",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	return tenant{config: config, kubeconfig: file, namespace: namespace}
}

// knit runs a command as the tenant.
func (u tenant) knit(ctx context.Context, args ...string) (code int, output string) {
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("KNIT_BIN"), "knit"), append(args, "--kubeconfig", u.kubeconfig)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return exited.ExitCode(), out.String()
	}
	if err != nil {
		return -1, err.Error()
	}
	return 0, out.String()
}

// ask sends a request of the function service as the tenant.
func (u tenant) ask(t *testing.T, method, path string) (code int, body string) {
	t.Helper()
	client, err := rest.HTTPClientFor(u.config)
	if err != nil {
		t.Fatal(err)
	}
	base, _, err := rest.DefaultServerUrlFor(u.config)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSuffix(base.String(), "/") + "/apis/service.knit.dev/v1alpha1/namespaces/" + path
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

// TestATenantGetsNothingInAnothersNamespace tries every command and every request
// of the function service, as somebody who may do everything in a namespace of
// their own, on a function of another namespace that has all there is to take.
func TestATenantGetsNothingInAnothersNamespace(t *testing.T) {
	p := newProject(t, "hello")
	url := p.knit("deploy", p.folder)
	before := p.knit("describe", "hello", "-o", "json")
	build := field(before, "buildRef")
	digest := field(before, "sourceDigest")
	if url == "" || build == "" || digest == "" {
		t.Fatalf("URL %q, build %q, source %q", url, build, digest)
	}
	u := newTenant(t)
	commands := map[string][]string{
		"deploy": {"deploy", p.folder}, "deploy --no-wait": {"deploy", p.folder, "--no-wait"}, "deploy --rebuild": {"deploy", p.folder, "--rebuild"},
		"deploy --dry-run": {"deploy", p.folder, "--dry-run=server"}, "deploy --diff": {"deploy", p.folder, "--diff"},
		"invoke": {"invoke", "hello"}, "invoke --via api": {"invoke", "hello", "--via", "api"},
		"list": {"list"}, "describe": {"describe", "hello"}, "open": {"open", "hello"},
		"logs": {"logs", "hello"}, "logs -f": {"logs", "hello", "-f"}, "logs -p": {"logs", "hello", "-p"}, "logs --build": {"logs", "hello", "--build"},
		"revisions": {"revisions", "hello"}, "traffic": {"traffic", "hello"}, "traffic set": {"traffic", "hello", "latest=100"},
		"rollback": {"rollback", "hello"}, "rollback --to": {"rollback", "hello", "--to", "hello-00001"},
		"env": {"env", "hello"}, "env set": {"env", "set", "hello", "A=1"}, "env unset": {"env", "unset", "hello", "A"},
		"delete": {"delete", "hello"}, "delete folder": {"delete", p.folder}, "delete --no-wait": {"delete", "hello", "--no-wait"},
		"build": {"build", p.folder}, "build --dry-run": {"build", p.folder, "--dry-run"}, "build --force": {"build", p.folder, "--force"},
		"build list": {"build", "list"}, "build logs": {"build", "logs", build}, "build logs -f": {"build", "logs", build, "-f"},
		"build explain": {"build", "explain", build}, "build cancel": {"build", "cancel", build}, "build sbom": {"build", "sbom", build},
		"build rebase": {"build", "rebase", "hello"}, "build rebase --all": {"build", "rebase", "--all"},
		"event send": {"event", "send", "--type", "dev.knit.hello"}, "event send --to channel": {"event", "send", "--to", "channel/line", "--type", "dev.knit.hello"},
		"event send --to function": {"event", "send", "--to", "function/hello", "--type", "dev.knit.hello"},
		"event tap":                {"event", "tap"}, "event tap channel": {"event", "tap", "channel/line", "--count", "1"},
		"schedule list": {"schedule", "list"}, "schedule describe": {"schedule", "describe", "hello-every-minute"},
		"deadletter list": {"deadletter", "list"}, "deadletter show": {"deadletter", "show", "1"},
		"deadletter redrive": {"deadletter", "redrive", "--all"}, "deadletter purge": {"deadletter", "purge", "--all"},
		"schedule next": {"schedule", "next", "hello-every-minute"}, "schedule history": {"schedule", "history", "hello-every-minute"},
		"schedule history --watch": {"schedule", "history", "hello-every-minute", "--watch"}, "schedule list --watch": {"schedule", "list", "--watch"},
		"schedule create":           {"schedule", "create", "other", "--every", "1h", "--sink", "function/hello"},
		"schedule create --dry-run": {"schedule", "create", "other", "--every", "1h", "--sink", "function/hello", "--dry-run=server"},
		"schedule create taken":     {"schedule", "create", "hello-every-minute", "--every", "1h", "--sink", "function/hello"},
		"schedule pause":            {"schedule", "pause", "hello-every-minute"}, "schedule resume": {"schedule", "resume", "hello-every-minute"},
		"schedule run-now": {"schedule", "run-now", "hello-every-minute"}, "schedule run-now --wait": {"schedule", "run-now", "hello-every-minute", "--wait"},
		"schedule backfill":           {"schedule", "backfill", "hello-every-minute", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:05:00Z"},
		"schedule backfill --dry-run": {"schedule", "backfill", "hello-every-minute", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:05:00Z", "--dry-run"},
		"schedule delete":             {"schedule", "delete", "hello-every-minute"}, "schedule delete --no-wait": {"schedule", "delete", "hello-every-minute", "--no-wait"},
	}
	for name, args := range commands {
		t.Run("knit "+name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			code, output := u.knit(ctx, append(args, "-n", p.namespace)...)
			want := 1
			if name == "deploy --diff" {
				want = 5 // 1 would say that something differs
			}
			if code != want || !strings.Contains(output, "forbidden") || !strings.Contains(output, "next: ask for the ClusterRole") {
				t.Errorf("exit code %d, want %d, and what to ask for; it printed\n%s", code, want, output)
			}
			for _, secret := range []string{url, "Hello from Knit!", "CycloneDX"} {
				if strings.Contains(output, secret) {
					t.Errorf("it shows %q:\n%s", secret, output)
				}
			}
		})
	}
	if code, output := u.knit(t.Context(), "list", "-A"); code != 1 || !strings.Contains(output, "forbidden") {
		t.Errorf("list -A: exit code %d: %s", code, output)
	}
	requests := map[string]string{
		"sources/" + digest: "GET HEAD PUT PATCH POST DELETE", "sources/sha256:" + strings.Repeat("0", 64): "GET HEAD PUT", "sources": "GET POST DELETE",
		"builds/" + build + "/log": "GET HEAD POST PUT DELETE", "builds/" + build + "/log?follow=true": "GET", "builds/nothing/log": "GET",
		"builds/" + build + "/sbom": "GET HEAD POST", "builds/nothing/sbom": "GET",
		"functions/hello/log": "GET HEAD POST DELETE", "functions/nothing/log": "GET",
		"functions/hello/invoke": "POST GET HEAD PUT PATCH DELETE OPTIONS", "functions/hello/invoke?method=GET&path=/": "POST", "functions/nothing/invoke": "POST",
		"deadletters": "GET HEAD POST DELETE", "deadletters/1": "GET DELETE", "redrives": "GET POST DELETE", "redrives/1": "POST",
		"brokers/default/events": "POST GET HEAD PUT PATCH DELETE", "brokers/nothing/events": "POST", "channels/line/events": "POST GET DELETE", "brokers/default/log": "GET HEAD POST", "channels/line/log": "GET", "brokers/default": "GET POST",
		"functions/hello": "GET", "functions/hello/other": "GET POST",
	}
	for path, methods := range requests {
		for _, method := range strings.Fields(methods) {
			t.Run(method+" "+path, func(t *testing.T) {
				code, body := u.ask(t, method, p.namespace+"/"+path)
				if code != http.StatusForbidden || method != http.MethodHead && !strings.Contains(body, "system:serviceaccount:"+u.namespace+":developer") {
					t.Errorf("%d %s, want 403 and who may not: what is there and what is not must look the same", code, body)
				}
			})
		}
	}
	// At home it is another matter; but what the other pushed is not there.
	if code, output := u.knit(t.Context(), "list"); code != 0 {
		t.Errorf("list at home: exit code %d: %s", code, output)
	}
	for path, want := range map[string]int{"sources/" + digest: 404, "functions/hello/invoke": 404, "brokers/default/events": 404, "channels/line/events": 404} {
		method := http.MethodGet
		if !strings.HasPrefix(path, "sources") {
			method = http.MethodPost
		}
		if code, body := u.ask(t, method, u.namespace+"/"+path); code != want {
			t.Errorf("%s %s at home: %d %s, want %d", method, path, code, body, want)
		}
	}
	after := p.knit("describe", "hello", "-o", "json")
	if field(after, "generation") != field(before, "generation") || p.knit("invoke", "hello") == "" {
		t.Errorf("the function was changed: before\n%s\nafter\n%s", before, after)
	}
}

// field is the value of the first line of indented JSON with a name.
func field(document, name string) string {
	for line := range strings.Lines(document) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), `"`+name+`": `); ok {
			return strings.Trim(value, `",`)
		}
	}
	return ""
}

// watchOne wants an event of the broker orders to be shown: it must come to the
// replica that has the stream.
func watchOne(p project) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("KNIT_BIN"), "knit"), "event", "tap", "broker/orders", "--count", "1", "-o", "name", "-n", p.namespace)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil || !strings.Contains(out.String(), "seen-by-one\n") {
				p.t.Errorf("tap: %v\n%s", err, out.String())
			}
			return
		case <-time.After(500 * time.Millisecond):
			p.knit("event", "send", "--to", "broker/orders", "--type", "x", "--id", "seen-by-one")
		}
	}
}

// TestTwoReplicasOfTheServiceWorkAsOne watches events, pushes, reads logs and calls functions while
// the function service has two replicas, and while one of them goes.
func TestTwoReplicasOfTheServiceWorkAsOne(t *testing.T) {
	admin, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	kube := kubernetes.NewForConfigOrDie(admin)
	scale := func(ctx context.Context, replicas int32) {
		s, err := kube.AppsV1().Deployments("knit-system").GetScale(ctx, "knit-controlplane", metav1.GetOptions{})
		if err == nil {
			s.Spec.Replicas = replicas
			_, err = kube.AppsV1().Deployments("knit-system").UpdateScale(ctx, "knit-controlplane", s, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	scale(t.Context(), 2)
	t.Cleanup(func() { scale(context.Background(), 1) })
	ready := func() []string {
		pods, err := kube.CoreV1().Pods("knit-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=knit-controlplane"})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, pod := range pods.Items {
			for _, c := range pod.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
					names = append(names, pod.Name)
				}
			}
		}
		return names
	}
	await := func() []string {
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			if names := ready(); len(names) == 2 {
				return names
			}
		}
		t.Fatal("there never were two replicas")
		return nil
	}
	replicas := await()
	p := newProject(t, "hello")
	p.replace("knit.yaml", "  language: go\n", "  language: go\n  visibility: cluster-local\n")
	use := func(greeting, with string) {
		t.Helper()
		p.replace("hello.go", greeting, with)
		p.knit("deploy", p.folder)
		for range 10 {
			if answer := p.knit("invoke", "hello"); !strings.Contains(answer, with) {
				t.Errorf("answer %q, want %q", answer, with)
			}
		}
		if log := p.knit("logs", "hello", "--build"); !strings.Contains(log, "===> build") {
			t.Errorf("log %q", log)
		}
	}
	p.knit("broker", "create", "orders")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.knit("broker", "list"), "True"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the broker did not become ready")
		}
	}
	watchOne(p)
	use("Hello from Knit!", "Hello from two replicas!")
	for _, name := range replicas {
		if err := kube.CoreV1().Pods("knit-system").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		await()
		watchOne(p)
	}
	use("Hello from two replicas!", "Hello from two others!")
}
