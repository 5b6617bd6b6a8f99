// Package world is the cluster that the end-to-end tests run against: clients
// for it, namespaces that go away, and waiting. The tests of the folders beside
// use it; it makes no cluster itself.
package world

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Patience is how long anything may take on a loaded two-core machine.
const Patience = 2 * time.Minute

// pause is how often a condition is looked at.
const pause = 100 * time.Millisecond

// World is the cluster of KUBECONFIG.
type World struct {
	Config   *rest.Config
	Kube     *kubernetes.Clientset
	Objects  *dynamic.DynamicClient
	StateDir string // of the embedded cluster
	Binaries string // folder of knit and knit-cluster
}

// Open reads the environment that deploy/e2e/run.sh sets.
func Open() (*World, error) {
	w := &World{StateDir: os.Getenv("KNIT_STATE_DIR"), Binaries: os.Getenv("KNIT_BIN")}
	if w.StateDir == "" || w.Binaries == "" {
		return nil, errors.New("KNIT_STATE_DIR and KNIT_BIN must be set")
	}
	var err error
	if w.Config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return nil, err
	}
	w.Config.QPS, w.Config.Burst = 100, 200
	if w.Kube, err = kubernetes.NewForConfig(w.Config); err != nil {
		return nil, err
	}
	w.Objects, err = dynamic.NewForConfig(w.Config)
	return w, err
}

// Namespace makes a namespace for the test and removes it afterwards.
func (w *World) Namespace(t *testing.T, labels ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: map[string]string{}}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		ns.Labels[k] = v
	}
	made, err := w.Kube.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.describe(t, made.Name)
		}
		_ = w.Kube.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
	})
	w.Eventually(t, "default service account of "+made.Name, func(ctx context.Context) (bool, error) {
		_, err := w.Kube.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	return made.Name
}

// describe logs what helps to understand a failure.
func (w *World) describe(t *testing.T, ns string) {
	ctx := context.Background()
	pods, err := w.Kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		t.Logf("pod %s: %s %v", p.Name, p.Status.Phase, p.Status.ContainerStatuses)
	}
	events, err := w.Kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, e := range events.Items {
		t.Logf("event %s/%s: %s %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

// Eventually polls until the condition holds; an error ends the test.
func (w *World) Eventually(t *testing.T, what string, condition func(ctx context.Context) (bool, error)) {
	t.Helper()
	w.Within(t, Patience, what, condition)
}

// Within is Eventually with another patience.
func (w *World) Within(t *testing.T, patience time.Duration, what string, condition func(ctx context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), pause, patience, true, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
