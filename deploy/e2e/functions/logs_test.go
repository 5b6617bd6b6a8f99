//go:build e2e

package functions

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// TestWhatAReplicaWroteOutlivesIt lets a function write, ends its replica, and
// reads what it wrote when there is no pod any more.
func TestWhatAReplicaWroteOutlivesIt(t *testing.T) {
	p := newProject(t, "hello")
	p.knit("deploy", p.folder)
	p.knit("invoke", "hello", "--event-type", "dev.knit.hello", "--event-id", "last-words", "--data", "{}")
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	pods := kubernetes.NewForConfigOrDie(config).CoreV1().Pods(p.namespace)
	of := metav1.ListOptions{LabelSelector: "knit.dev/function=hello"}
	all, err := pods.List(t.Context(), of)
	if err != nil || len(all.Items) == 0 {
		t.Fatalf("%d replicas, %v", len(all.Items), err)
	}
	ended := all.Items[0].Name
	if err := pods.Delete(t.Context(), ended, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for log := ""; !strings.Contains(log, "===> "+ended+", ended ") || !strings.Contains(log, "last-words"); log = p.knit("logs", "hello", "--previous") {
		if time.Now().After(deadline) {
			t.Fatalf("the log of %s is not kept:\n%s", ended, log)
		}
	}
	revision := all.Items[0].Labels["serving.knative.dev/revision"]
	if log := p.knit("logs", "hello", "-p", "--revision", revision, "--tail", "0"); !strings.Contains(log, ended) || strings.Contains(log, "last-words") {
		t.Errorf("of %s without lines:\n%s", revision, log)
	}
	if log := p.knit("logs", "hello", "-p", "--revision", "hello-00099"); log != "" {
		t.Errorf("of a revision that never was:\n%s", log)
	}
}
