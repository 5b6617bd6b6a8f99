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
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/knit-dev/knit/deploy/e2e/world"
)

const patience = world.Patience

// shared by all tests; set once by TestMain.
var (
	shared     *world.World
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
	cluster, err := world.Open()
	if err != nil {
		return err
	}
	shared = cluster
	config, kube, objects = cluster.Config, cluster.Kube, cluster.Objects
	stateDir, binaries = cluster.StateDir, cluster.Binaries
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
	return shared.Namespace(t, labels...)
}

// eventually polls until the condition holds; an error ends the test.
func eventually(t *testing.T, what string, condition func(ctx context.Context) (bool, error)) {
	t.Helper()
	shared.Eventually(t, what, condition)
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
