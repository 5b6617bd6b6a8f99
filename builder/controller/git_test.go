package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

func aGitBuild(name string, git v1alpha1.GitSource) *v1alpha1.Build {
	b := aBuild(name)
	b.Spec.Source = v1alpha1.BuildSource{Git: &git}
	return b
}

func overSSH() v1alpha1.GitSource {
	return v1alpha1.GitSource{URL: "git@git.example.com:a/b", SecretName: "login"}
}

func overHTTPS() v1alpha1.GitSource {
	return v1alpha1.GitSource{URL: "https://git.example.com/a/b", SecretName: "login"}
}

func aSecret(kind corev1.SecretType, hosts string, data ...string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: "login"}, Type: kind, Data: map[string][]byte{}}
	if hosts != "" {
		s.Annotations = map[string]string{"knit.dev/git-hosts": hosts}
	}
	for _, key := range data {
		s.Data[key] = []byte("value of " + key)
	}
	return s
}

// copied is the Secret of the pod, nil when there is none.
func (w *world) copied(name string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	err := w.api.Get(w.t.Context(), types.NamespacedName{Namespace: "knit-builds", Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// withUIDs makes the API in memory give pods a UID, as a real one does.
func withUIDs(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if pod, ok := o.(*corev1.Pod); ok {
			pod.UID = types.UID("uid-of-" + pod.Name)
		}
		return c.Create(ctx, o, opts...)
	}})
}

func TestCommitAndDigestAreReported(t *testing.T) {
	w := newWorld(t, aGitBuild("b", v1alpha1.GitSource{URL: "https://git.example.com/a/b"}))
	w.reconcile("b")
	if b := w.build("b"); b.Status.PodName == "" || b.Status.SourceDigest != "" {
		t.Fatalf("status %+v", b.Status)
	}
	status := after(v1alpha1.PhaseDetect, corev1.PodPending, running())
	status.InitContainerStatuses[0].State.Terminated.Message = `{"revision":"` + commit + `","digest":"` + digest + `"}`
	w.setPod("build-uid-b", status)
	w.reconcile("b")
	if b := w.build("b"); b.Status.Revision != commit || b.Status.SourceDigest != digest {
		t.Errorf("status %+v", b.Status)
	}
}

func TestWhatIsNoOutcomeIsNotTaken(t *testing.T) {
	for name, message := range map[string]string{
		"nothing":   "",
		"text":      "hello",
		"no commit": `{"revision":"main","digest":"` + digest + `"}`,
		"no digest": `{"revision":"` + commit + `","digest":"x"}`,
		"hostile":   `{"revision":"` + strings.Repeat("'", 40) + `","digest":"` + digest + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aGitBuild("b", v1alpha1.GitSource{URL: "https://git.example.com/a/b"}))
			w.reconcile("b")
			status := after(v1alpha1.PhaseDetect, corev1.PodPending, running())
			status.InitContainerStatuses[0].State.Terminated.Message = message
			w.setPod("build-uid-b", status)
			w.reconcile("b")
			if b := w.build("b"); b.Status.Revision != "" || b.Status.SourceDigest != "" {
				t.Errorf("status %+v", b.Status)
			}
		})
	}
}

func TestTheLoginIsCopiedForThePodAlone(t *testing.T) {
	w := newWorld(t, aGitBuild("b", overHTTPS()), aSecret(corev1.SecretTypeBasicAuth, "git.example.com", "username", "password", "ca.crt", "other"))
	w.api = withUIDs(w.api)
	w.reconcile("b")
	s := w.copied("build-uid-b-git")
	if s == nil {
		t.Fatal("there is no copy")
	}
	want := map[string][]byte{
		"username": []byte("value of username"), "password": []byte("value of password"), "ca.crt": []byte("value of ca.crt"), "hosts": []byte("git.example.com"),
	}
	if diff := cmp.Diff(want, s.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != w.pod("build-uid-b").UID {
		t.Errorf("owners %+v", s.OwnerReferences)
	}
}

// The process dies between the two writes: whoever comes next makes the copy,
// as long as the fetch phase waits for it.
func TestTheLoginIsCopiedAfterACrash(t *testing.T) {
	w := newWorld(t, aGitBuild("b", overSSH()), aSecret(corev1.SecretTypeSSHAuth, "git.example.com", "ssh-privatekey", "known_hosts"))
	w.api = withUIDs(w.api)
	for w.pod("build-uid-b") == nil {
		mortal, _ := reconciletest.Mortal(w.api, reconciletest.Crash{At: 1, Done: true})
		if _, err := w.reconciler(mortal).Reconcile(t.Context(), request("b")); !errors.Is(err, reconciletest.ErrDead) {
			t.Fatal(err)
		}
	}
	if w.copied("build-uid-b-git") != nil {
		t.Fatal("it did not die between the two writes")
	}
	for range 3 {
		w.reconcile("b")
	}
	if w.copied("build-uid-b-git") == nil {
		t.Error("the fetch phase waits for ever")
	}
}

func TestLoginsThatAreNotUsed(t *testing.T) {
	cases := map[string]struct {
		git    v1alpha1.GitSource
		secret *corev1.Secret
		want   string
	}{
		"no annotation":     {overHTTPS(), aSecret(corev1.SecretTypeBasicAuth, "", "username", "password"), "knit.dev/git-hosts is missing"},
		"for another host":  {overHTTPS(), aSecret(corev1.SecretTypeBasicAuth, "github.com", "username", "password"), "does not name git.example.com:443"},
		"for another port":  {overHTTPS(), aSecret(corev1.SecretTypeBasicAuth, "git.example.com:8443", "username", "password"), "does not name git.example.com:443"},
		"opaque":            {overHTTPS(), aSecret(corev1.SecretTypeOpaque, "git.example.com", "username", "password"), "kubernetes.io/basic-auth"},
		"registry login":    {overHTTPS(), aSecret(corev1.SecretTypeDockerConfigJson, "git.example.com", ".dockerconfigjson"), "kubernetes.io/basic-auth"},
		"key for https":     {overHTTPS(), aSecret(corev1.SecretTypeSSHAuth, "git.example.com", "ssh-privatekey"), "https needs"},
		"password for ssh":  {overSSH(), aSecret(corev1.SecretTypeBasicAuth, "git.example.com", "username", "password"), "ssh needs"},
		"no password":       {overHTTPS(), aSecret(corev1.SecretTypeBasicAuth, "git.example.com", "username"), `no "password"`},
		"no known hosts":    {overSSH(), aSecret(corev1.SecretTypeSSHAuth, "git.example.com", "ssh-privatekey"), "ssh-keyscan git.example.com"},
		"no key, but hosts": {overSSH(), aSecret(corev1.SecretTypeSSHAuth, "git.example.com", "known_hosts"), `no "ssh-privatekey"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aGitBuild("b", c.git), c.secret)
			w.reconcile("b")
			got := succeeded(w.build("b"))
			if got.Status != metav1.ConditionFalse || got.Reason != reasonSecret || !strings.Contains(got.Message, c.want) || !strings.Contains(got.Message, "alice/login") {
				t.Errorf("%+v, want %q", got, c.want)
			}
			if w.pod("build-uid-b") != nil || w.copied("build-uid-b-git") != nil || strings.Contains(got.Message, "value of") {
				t.Error("something of it went out")
			}
		})
	}
}

func TestThePlatformsKnownHostsStandIn(t *testing.T) {
	w := newWorld(t, aGitBuild("b", overSSH()), aSecret(corev1.SecretTypeSSHAuth, "git.example.com", "ssh-privatekey"))
	w.api = withUIDs(w.api)
	w.set("git-known-hosts", "git.example.com ssh-ed25519 AAAA")
	w.reconcile("b")
	if s := w.copied("build-uid-b-git"); s == nil || string(s.Data["known_hosts"]) != "git.example.com ssh-ed25519 AAAA" {
		t.Errorf("copy %+v", s)
	}
}

// set changes a setting of the platform.
func (w *world) set(key, value string) {
	w.t.Helper()
	var settings corev1.ConfigMap
	if err := w.api.Get(w.t.Context(), types.NamespacedName{Namespace: "knit-system", Name: platformName}, &settings); err != nil {
		w.t.Fatal(err)
	}
	settings.Data[key] = value
	if err := w.api.Update(w.t.Context(), &settings); err != nil {
		w.t.Fatal(err)
	}
}

func TestASecretMayComeALittleLater(t *testing.T) {
	w := newWorld(t, aGitBuild("b", overHTTPS()))
	if result := w.reconcile("b"); result.RequeueAfter == 0 {
		t.Error("nobody would look again")
	}
	if got := succeeded(w.build("b")); got.Status != metav1.ConditionUnknown || !strings.Contains(got.Message, "alice/login") {
		t.Fatalf("at first: %+v", got)
	}
	if err := w.api.Create(t.Context(), aSecret(corev1.SecretTypeBasicAuth, "git.example.com", "username", "password")); err != nil {
		t.Fatal(err)
	}
	w.reconcile("b")
	if w.pod("build-uid-b") == nil {
		t.Error("it does not go on")
	}

	w = newWorld(t, aGitBuild("b", overHTTPS()))
	w.time = w.time.Add(secretPatience + time.Second)
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Status != metav1.ConditionFalse || got.Reason != reasonSecret {
		t.Errorf("after its time: %+v", got)
	}
}

func TestASecretThatMayNotBeReadIsTold(t *testing.T) {
	w := newWorld(t, aGitBuild("b", overHTTPS()))
	w.api = interceptor.NewClient(w.api, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*corev1.Secret); ok {
			return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, errors.New("no"))
		}
		return c.Get(ctx, key, o, opts...)
	}})
	w.reconcile("b")
	if got := succeeded(w.build("b")); !strings.Contains(got.Message, "kubectl -n alice create role knit-git --verb=get --resource=secrets --resource-name=login") {
		t.Errorf("%+v", got)
	}
}

func TestAServerThatThePlatformDoesNotGoTo(t *testing.T) {
	w := newWorld(t, aGitBuild("b", v1alpha1.GitSource{URL: "https://10.1.2.3/x"}), aGitBuild("c", v1alpha1.GitSource{URL: "https://10.1.2.3/x"}))
	w.reconcile("b")
	if got := succeeded(w.build("b")); got.Reason != v1alpha1.ReasonInvalid || !strings.Contains(got.Message, "git-allowed-cidrs") || w.pod("build-uid-b") != nil {
		t.Errorf("%+v", got)
	}
	w.set("git-allowed-cidrs", "10.1.2.3/32")
	w.reconcile("c")
	if w.pod("build-uid-c") == nil {
		t.Errorf("%+v", succeeded(w.build("c")))
	}
	w.set("git-allowed-cidrs", "nonsense")
	w = newWorld(t, aGitBuild("d", v1alpha1.GitSource{URL: "https://github.com/x"}))
	w.set("git-allowed-cidrs", "nonsense")
	w.reconcile("d")
	if got := succeeded(w.build("d")); got.Reason != v1alpha1.ReasonPlatformInvalid || !strings.Contains(got.Message, "nonsense") {
		t.Errorf("%+v", got)
	}
}
