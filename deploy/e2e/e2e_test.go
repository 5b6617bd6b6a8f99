//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

// patience is how long anything may take on a loaded two-core machine.
const patience = 2 * time.Minute

// shared by all tests; set once by TestMain.
var (
	config     *rest.Config
	kube       *kubernetes.Clientset
	objects    *dynamic.DynamicClient
	probeImage string
	stateDir   string
	binaries   string
)

func TestMain(m *testing.M) {
	if err := setUp(); err != nil {
		fmt.Fprintf(os.Stderr, "end-to-end tests: %v; run them with: make test\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func setUp() error {
	var err error
	stateDir, binaries = os.Getenv("KNIT_STATE_DIR"), os.Getenv("KNIT_BIN")
	if config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	if kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if objects, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	const name = "knit/e2e-probe"
	cmd := exec.Command(filepath.Join(binaries, "knit-cluster"), "images", "--state-dir", stateDir, "--dir", "../..",
		name+"=github.com/knit-dev/knit/deploy/e2e/probe")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("build probe image: %w", err)
	}
	var refs map[string]string
	if err := json.Unmarshal(out, &refs); err != nil {
		return err
	}
	probeImage = refs[name]
	return nil
}

// namespace makes a namespace for the test and removes it afterwards.
func namespace(t *testing.T, labels ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: map[string]string{}}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		ns.Labels[k] = v
	}
	made, err := kube.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			describe(t, made.Name)
		}
		_ = kube.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
	})
	eventually(t, "default service account of "+made.Name, func(ctx context.Context) (bool, error) {
		_, err := kube.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	return made.Name
}

// describe logs what helps to understand a failure.
func describe(t *testing.T, ns string) {
	ctx := context.Background()
	pods, err := kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		t.Logf("pod %s: %s %v", p.Name, p.Status.Phase, p.Status.ContainerStatuses)
	}
	events, err := kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, e := range events.Items {
		t.Logf("event %s/%s: %s %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

// eventually polls until the condition holds; an error ends the test.
func eventually(t *testing.T, what string, condition func(ctx context.Context) (bool, error)) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, condition)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func probePod(name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{probeContainer(args...)},
		},
	}
}

func probeContainer(args ...string) corev1.Container {
	return corev1.Container{Name: "probe", Image: probeImage, Args: args}
}

func create(t *testing.T, ns string, p *corev1.Pod) {
	t.Helper()
	if _, err := kube.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// running waits until the pod is ready and returns it.
func running(t *testing.T, ns, name string) (pod *corev1.Pod) {
	t.Helper()
	eventually(t, "pod "+name+" ready", func(ctx context.Context) (bool, error) {
		p, err := kube.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		pod = p
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady {
				return c.Status == corev1.ConditionTrue, nil
			}
		}
		return false, nil
	})
	return pod
}

// finished waits until the pod's container has ended and returns how.
func finished(t *testing.T, ns, name string) *corev1.ContainerStateTerminated {
	t.Helper()
	var end *corev1.ContainerStateTerminated
	eventually(t, "end of pod "+name, func(ctx context.Context) (bool, error) {
		p, err := kube.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range p.Status.ContainerStatuses {
			end = c.State.Terminated
		}
		return end != nil, nil
	})
	return end
}

func logs(t *testing.T, ns, name string) string {
	t.Helper()
	data, err := kube.CoreV1().Pods(ns).GetLogs(name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// execute runs a command in a pod and returns its output.
func execute(ctx context.Context, ns, pod string, command ...string) (string, error) {
	req := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "probe", Command: append([]string{"/app/probe"}, command...), Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", req.URL().String())
	if err != nil {
		return "", err
	}
	var out, errs bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}
