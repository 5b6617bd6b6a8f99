//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

func TestDeploymentBehindServiceIsReachableByName(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	labels := map[string]string{"app": "web"}
	two := int32(2)
	_, err := kube.AppsV1().Deployments(ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &two,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{probeContainer()}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	makeService(t, ns, "web", 80, 8080)
	create(t, ns, probePod("client"))
	running(t, ns, "client")
	eventually(t, "both replicas answer by service name", func(ctx context.Context) (bool, error) {
		hosts := map[string]bool{}
		for range 20 {
			out, err := execute(ctx, ns, "client", "get", "http://web."+ns+".svc.cluster.local/")
			if err != nil {
				return false, nil
			}
			hosts[out] = true
		}
		return len(hosts) == 2, nil
	})
}

// By itself the kubelet looks at its containers once a second. Looks that
// follow each other sooner are those that containerd's events asked for.
func TestTheKubeletLooksWhenAContainerChanges(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, ns, probePod("once", "say", "done"))
	finished(t, ns, "once")
	nodes, err := kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 {
		t.Fatalf("%d nodes: %v", len(nodes.Items), err)
	}
	metrics, err := kube.CoreV1().RESTClient().Get().Resource("nodes").Name(nodes.Items[0].Name).SubResource("proxy").Suffix("metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const soon = `kubelet_pleg_relist_interval_seconds_bucket{le="0.5"} `
	for line := range strings.Lines(string(metrics)) {
		if count, ok := strings.CutPrefix(line, soon); ok {
			if strings.TrimSpace(count) == "0" {
				t.Error("no look came before its second was over")
			}
			return
		}
	}
	t.Error("the kubelet does not tell when it looks")
}

func makeService(t *testing.T, ns, name string, port, target int32) *corev1.Service {
	t.Helper()
	svc, err := kube.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(target)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func TestJobAndCronJobRunToCompletion(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{probeContainer("say", "done")}}}
	if _, err := kube.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "once"}, Spec: batchv1.JobSpec{Template: template}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "often"}, Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}
	if _, err := kube.BatchV1().CronJobs(ns).Create(t.Context(), cron, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "job and the cron job's job complete", func(ctx context.Context) (bool, error) {
		jobs, err := kube.BatchV1().Jobs(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		done := 0
		for _, j := range jobs.Items {
			done += int(j.Status.Succeeded)
		}
		return done >= 2, nil
	})
}

func TestLogsAndExec(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, ns, probePod("talker", "say", "hello", "log"))
	finished(t, ns, "talker")
	if diff := cmp.Diff("hello log\n", logs(t, ns, "talker")); diff != "" {
		t.Errorf("log of a finished pod (-want +got):\n%s", diff)
	}
	create(t, ns, probePod("shell"))
	running(t, ns, "shell")
	out, err := execute(t.Context(), ns, "shell", "say", "from", "inside")
	if err != nil || out != "from inside\n" {
		t.Errorf("exec answered %q, %v", out, err)
	}
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, ns, probePod("web"))
	running(t, ns, "web")
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	url := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name("web").SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	f, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", url), []string{"0:8080"}, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = f.ForwardPorts() }()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("port-forward is not ready")
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if !strings.HasPrefix(string(body), "web ") {
		t.Errorf("forwarded port answered %q, want the pod's name", body)
	}
}

func TestVolumesOfConfigMapSecretAndEmptyDir(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	ctx := t.Context()
	if _, err := kube.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"key": "from-configmap "}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"key": "from-secret "}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := probePod("volumes", "read", "/c/key", "/s/key", "/e/key")
	mount := func(name string) corev1.VolumeMount {
		return corev1.VolumeMount{Name: name, MountPath: "/" + name}
	}
	p.Spec.Volumes = []corev1.Volume{
		{Name: "c", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}},
		{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
		{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	writer := probeContainer("write", "/e/key", "from-emptydir")
	writer.Name = "writer"
	writer.VolumeMounts = []corev1.VolumeMount{mount("e")}
	p.Spec.InitContainers = []corev1.Container{writer}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mount("c"), mount("s"), mount("e")}
	everyone := int64(65532)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &everyone}
	create(t, ns, p)
	finished(t, ns, "volumes")
	if diff := cmp.Diff("from-configmap from-secret from-emptydir", logs(t, ns, "volumes")); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

func TestMemoryLimitEndsTheContainer(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	// The shim may miss why the kernel killed a container: it reads the reason
	// from a control group that goes with the container. So one of three pods
	// must be told, and each must be killed.
	var reasons []string
	for _, name := range []string{"greedy-1", "greedy-2", "greedy-3"} {
		p := probePod(name, "oom")
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
		create(t, ns, p)
		end := finished(t, ns, name)
		if end.ExitCode != 137 {
			t.Fatalf("%s ended with %s (code %d), want 137", name, end.Reason, end.ExitCode)
		}
		if reasons = append(reasons, end.Reason); end.Reason == "OOMKilled" {
			return
		}
		t.Logf("%s ended with %s: its reason was lost", name, end.Reason)
	}
	t.Errorf("ended with %v, want OOMKilled", reasons)
}

func TestMissingImageSaysSo(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := probePod("missing")
	host, _, _ := strings.Cut(probeImage, "/")
	p.Spec.Containers[0].Image = host + "/no/such-image:1"
	create(t, ns, p)
	eventually(t, "the pod names the image that is missing", func(ctx context.Context) (bool, error) {
		p, err := kube.CoreV1().Pods(ns).Get(ctx, "missing", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && strings.Contains(w.Message, "no/such-image") {
				return true, nil
			}
		}
		return false, nil
	})
}

func TestPodThatFloodsItsLogIsEvictedAndItsLogRemoved(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := probePod("flood", "flood")
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("40Mi")}
	create(t, ns, p)
	pod := running(t, ns, "flood")
	eventually(t, "the pod is evicted with the reason", func(ctx context.Context) (bool, error) {
		p, err := kube.CoreV1().Pods(ns).Get(ctx, "flood", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return p.Status.Reason == "Evicted" && strings.Contains(p.Status.Message, "ephemeral"), nil
	})
	if err := kube.CoreV1().Pods(ns).Delete(t.Context(), "flood", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	folder := fmt.Sprintf("%s/pod-logs/%s_flood_%s", stateDir, ns, pod.UID)
	eventually(t, "the log is gone from the disk", func(context.Context) (bool, error) {
		_, err := os.Stat(folder)
		return os.IsNotExist(err), nil
	})
}
