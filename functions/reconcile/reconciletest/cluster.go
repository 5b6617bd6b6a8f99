package reconciletest

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// KubeconfigVariable names the kubeconfig of a cluster that tests may use. It is
// a name of its own: nobody's KUBECONFIG should lead a test run to a cluster in
// use.
const KubeconfigVariable = "KNIT_TEST_KUBECONFIG"

// Cluster is a real API server and a namespace of one test in it.
type Cluster struct {
	Config    *rest.Config
	Client    client.WithWatch
	Namespace string
}

// Real connects to the cluster that KNIT_TEST_KUBECONFIG names, installs the
// CRDs in the given files, and makes a namespace that is deleted when the test
// ends; the CRDs stay. Namespaces are added to the scheme. Without the variable
// the test is skipped.
func Real(t testing.TB, scheme *runtime.Scheme, crdFiles ...string) Cluster {
	t.Helper()
	file := os.Getenv(KubeconfigVariable)
	if file == "" {
		t.Skipf("set %s to the kubeconfig of a test cluster (`make test` does) to run this on a real API server", KubeconfigVariable)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatalf("read %s=%q: %v", KubeconfigVariable, file, err)
	}
	// The server protects itself; a limit here would only make tests slow.
	config.QPS = -1
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crdFiles {
		install(t, c, crd)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "knit-test-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("create a namespace for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Delete(ctx, ns); err != nil {
			t.Errorf("delete namespace %q: %v", ns.Name, err)
		}
	})
	return Cluster{Config: config, Client: c, Namespace: ns.Name}
}

func install(t testing.TB, c client.Client, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var crd unstructured.Unstructured
	if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
		t.Fatalf("read %q: %v", file, err)
	}
	if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&crd), client.FieldOwner("knit"), client.ForceOwnership); err != nil {
		t.Fatalf("install %q: %v", file, err)
	}
	for {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(&crd), &crd)
		if err == nil && established(&crd) {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%q was not established: %v", file, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}
