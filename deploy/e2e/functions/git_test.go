//go:build e2e

package functions

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const gitPassword = "s3cret-password"

// gitFiles is the repository: a function whose module is above it, and which
// shares a folder. Two underscores stand for a slash.
var gitFiles = map[string]string{
	"go.mod":                 "module example.com/shop\n\ngo 1.24\n",
	"shared__shared.go":      "package shared\n\nconst Word = \"from git\"\n",
	"functions__hello__f.go": "package hello\n\nimport (\n\t\"io\"\n\t\"net/http\"\n\n\t\"example.com/shop/shared\"\n)\n\nfunc Handle(w http.ResponseWriter, r *http.Request) { io.WriteString(w, shared.Word) }\n",
}

// gitWorld is a git server in a pod of the cluster, which the platform allows.
type gitWorld struct {
	t         *testing.T
	api       client.Client
	namespace string
	url       string
}

// TestGitSources deploys from a git server in the cluster: by the command line,
// by nothing but the Kubernetes API, and with sources that are refused.
func TestGitSources(t *testing.T) {
	w := newGitWorld(t)
	t.Run("with kubectl alone", w.testApplied)
	t.Run("with the command line", w.testScript)
	t.Run("refused", w.testRefused)
}

func newGitWorld(t *testing.T) *gitWorld {
	t.Helper()
	bin, kubeconfig, state := os.Getenv("KNIT_BIN"), os.Getenv("KUBECONFIG"), os.Getenv("KNIT_STATE_DIR")
	if bin == "" || kubeconfig == "" || state == "" {
		t.Fatal("KNIT_BIN, KNIT_STATE_DIR and KUBECONFIG must be set; run these tests with: make test")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "git-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), ns) })
	w := &gitWorld{t: t, api: api, namespace: ns.Name}
	host := "git." + ns.Name + ".svc.cluster.local"
	w.url = "https://" + host + ":8443/repo"
	cert, key := certificate(t, host)
	w.create(&corev1.Secret{ObjectMeta: w.named("git-tls"), Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": cert, "tls.key": key}})
	w.login(host, cert)
	address := w.server(image(t, bin, state))
	install(t, bin, "--git-allowed-cidrs="+address+"/32")
	t.Cleanup(func() { install(t, bin, "--git-allowed-cidrs=") })
	return w
}

func (w *gitWorld) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name}
}

func (w *gitWorld) create(o client.Object) {
	w.t.Helper()
	if err := w.api.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// login is the Secret with the login.
func (w *gitWorld) login(host string, ca []byte) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: w.named("git-login"), Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"username": []byte("alice"), "password": []byte(gitPassword), "ca.crt": ca}}
	secret.Annotations = map[string]string{"knit.dev/git-hosts": host + ":8443"}
	w.create(secret)
}

// server runs the git server and returns its address.
func (w *gitWorld) server(image string) string {
	w.t.Helper()
	labels := map[string]string{"app": "git"}
	w.create(&corev1.ConfigMap{ObjectMeta: w.named("git-files"), Data: gitFiles})
	w.create(&corev1.Service{ObjectMeta: w.named("git"), Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: labels, Ports: []corev1.ServicePort{{Port: 8443}}}})
	pod := &corev1.Pod{ObjectMeta: w.named("git"), Spec: corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "git", Image: image, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: gitPassword}},
			VolumeMounts:   []corev1.VolumeMount{{Name: "files", MountPath: "/files"}, {Name: "tls", MountPath: "/tls"}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8443), Scheme: "HTTPS"}}},
		}},
		Volumes: []corev1.Volume{
			{Name: "files", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "git-files"}}}},
			{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "git-tls"}}},
		},
	}}
	pod.Labels = labels
	w.create(pod)
	w.eventually("the git server is ready", func() (bool, string) {
		if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return false, err.Error()
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return true, ""
			}
		}
		return false, fmt.Sprint(pod.Status.ContainerStatuses)
	})
	return pod.Status.PodIP
}

func (w *gitWorld) eventually(what string, holds func() (ok bool, state string)) {
	w.t.Helper()
	state := ""
	err := wait.PollUntilContextTimeout(w.t.Context(), 250*time.Millisecond, 3*time.Minute, true, func(context.Context) (ok bool, err error) {
		ok, state = holds()
		return ok, nil
	})
	if err != nil {
		w.t.Fatalf("%s: %v; last: %s", what, err, state)
	}
}

// image builds the git server's image into the cluster's registry.
func image(t *testing.T, bin, state string) string {
	t.Helper()
	const name = "knit/e2e-gitserver"
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "knit-cluster"), "images", "--state-dir", state, "--dir", "../../..",
		name+"=github.com/knit-dev/knit/deploy/e2e/gitserver")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build the git server's image: %v", err)
	}
	var refs map[string]string
	if err := json.Unmarshal(out, &refs); err != nil {
		t.Fatal(err)
	}
	return refs[name]
}

func install(t *testing.T, bin string, args ...string) {
	t.Helper()
	if out, err := exec.Command(filepath.Join(bin, "knit"), append([]string{"install"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("knit install %q: %v\n%s", args, err, out)
	}
}

func certificate(t *testing.T, host string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func (w *gitWorld) function(name string, git v1alpha1.GitSource, include ...string) *v1alpha1.Function {
	return &v1alpha1.Function{ObjectMeta: w.named(name), Spec: v1alpha1.FunctionSpec{Source: v1alpha1.Source{Git: &git, Include: include}}}
}

func (w *gitWorld) testApplied(t *testing.T) {
	w.t = t
	fn := w.function("applied", v1alpha1.GitSource{URL: w.url, Revision: "main", Path: "functions/hello", SecretName: "git-login"}, "go.mod", "shared")
	w.create(fn)
	w.eventually("the Function is ready", func() (bool, string) {
		if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(fn), fn); err != nil {
			return false, err.Error()
		}
		return fn.Holds(v1alpha1.ConditionReady), fmt.Sprint(fn.Status.Conditions)
	})
	if len(fn.Status.SourceRevision) != 40 || !strings.HasPrefix(fn.Status.SourceDigest, "sha256:") {
		t.Errorf("status %+v", fn.Status)
	}
	// The copy of the login belongs to the pod and goes with the Build.
	var build v1alpha1.Build
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: fn.Status.BuildRef}, &build); err != nil {
		t.Fatal(err)
	}
	copied := client.ObjectKey{Namespace: "knit-builds", Name: build.Status.PodName + "-git"}
	var secret corev1.Secret
	if err := w.api.Get(t.Context(), copied, &secret); err != nil || len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].Kind != "Pod" {
		t.Errorf("the copy of the login: %v, owners %v", err, secret.OwnerReferences)
	}
	if err := w.api.Delete(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
	w.eventually("the copy of the login goes with its pod", func() (bool, string) {
		err := w.api.Get(t.Context(), copied, &secret)
		return client.IgnoreNotFound(err) == nil && err != nil, fmt.Sprint(err)
	})
}

func (w *gitWorld) testScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../testdata/git",
		Setup: func(env *testscript.Env) error {
			env.Setenv("KUBECONFIG", os.Getenv("KUBECONFIG"))
			env.Setenv("NAMESPACE", w.namespace)
			env.Setenv("GIT_URL", w.url)
			env.Setenv("PATH", os.Getenv("KNIT_BIN")+string(filepath.ListSeparator)+os.Getenv("PATH"))
			return nil
		},
	})
}

func (w *gitWorld) testRefused(t *testing.T) {
	w.t = t
	cases := map[string]struct {
		git  v1alpha1.GitSource
		want string
	}{
		"private-address":  {v1alpha1.GitSource{URL: "https://10.255.255.1/x"}, "git-allowed-cidrs"},
		"the-api-server":   {v1alpha1.GitSource{URL: "https://kubernetes.default.svc.cluster.local/x"}, "is not public"},
		"loopback":         {v1alpha1.GitSource{URL: "https://127.0.0.1/x"}, "is not public"},
		"metadata":         {v1alpha1.GitSource{URL: "https://169.254.169.254/x"}, "metadata"},
		"without-login":    {v1alpha1.GitSource{URL: w.url}, "certificate"},
		"secret-not-there": {v1alpha1.GitSource{URL: w.url, SecretName: "nothing"}, "nothing"},
		"another-s-secret": {v1alpha1.GitSource{URL: "https://git.example.com/x", SecretName: "git-login"}, "does not name git.example.com:443"},
		"names-no-hosts":   {v1alpha1.GitSource{URL: w.url, SecretName: "git-tls"}, "knit.dev/git-hosts is missing"},
		"no-such-branch":   {v1alpha1.GitSource{URL: w.url, SecretName: "git-login", Revision: "nothing"}, `there are the branches "main"`},
		"no-such-folder":   {v1alpha1.GitSource{URL: w.url, SecretName: "git-login", Path: "nothing"}, "check git.path"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fn := w.function(name, c.git)
			w.create(fn)
			w.eventually("the reason is told", func() (bool, string) {
				if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(fn), fn); err != nil {
					return false, err.Error()
				}
				told := fmt.Sprint(fn.Status.Conditions)
				if fn.Status.BuildRef != "" {
					var build v1alpha1.Build
					if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: fn.Status.BuildRef}, &build); err == nil {
						told += fmt.Sprint(build.Status.Conditions)
					}
				}
				return strings.Contains(told, c.want), told
			})
			if ready := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status == metav1.ConditionTrue {
				t.Error("it is ready")
			}
			if strings.Contains(fmt.Sprint(fn.Status), gitPassword) {
				t.Error("the password is shown")
			}
			_ = w.api.Delete(t.Context(), fn)
		})
	}
}
