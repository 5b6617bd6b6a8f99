//go:build e2e

package conformance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"knative.dev/networking/test"
	"knative.dev/networking/test/conformance/ingress"
	pkgtest "knative.dev/pkg/test"

	"github.com/knit-dev/knit/deploy/cluster/gateway"
)

// setUpTime bounds what happens before the first test, the build of the images
// included.
const setUpTime = 15 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), setUpTime)
	defer cancel()
	config, err := pkgtest.Flags.GetRESTConfig()
	if err != nil {
		return fail(err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fail(err)
	}
	if err := setFlags(ctx, kube); err != nil {
		return fail(err)
	}
	if err := makeNamespace(ctx, kube); err != nil {
		return fail(err)
	}
	defer func() {
		_ = kube.CoreV1().Namespaces().Delete(context.Background(), test.ServingNamespace, metav1.DeleteOptions{})
	}()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintf(os.Stderr, "ingress conformance: %v; is KUBECONFIG that of a running knit cluster?\n", err)
	return 1
}

// setFlags fills in the suite's flags that the command line does not give. The
// suite finds the gateway by itself: the gateway's Service has the bridge
// address as its load balancer, with ports 80 and 443.
func setFlags(ctx context.Context, kube kubernetes.Interface) error {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	defaults := map[string]string{"ingressClass": gateway.ClassName, "enable-beta": "true", "enable-alpha": "true"}
	if !given["dockerrepo"] && !given["imagetemplate"] {
		repository, tag, err := pushImages(ctx, kube)
		if err != nil {
			return err
		}
		defaults["dockerrepo"], defaults["tag"] = repository, tag
	}
	for name, value := range defaults {
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("set flag -%s of the suite: %w", name, err)
		}
	}
	return nil
}

// makeNamespace makes the suite's namespace, after one of an earlier run has gone.
func makeNamespace(ctx context.Context, kube kubernetes.Interface) error {
	namespaces := kube.CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: test.ServingNamespace}}
	return wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := namespaces.Create(ctx, ns, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return false, fmt.Errorf("create Namespace %s: %w", ns.Name, err)
		}
		have, err := namespaces.Get(ctx, ns.Name, metav1.GetOptions{})
		if err != nil || have.Status.Phase == corev1.NamespaceTerminating {
			return false, nil
		}
		_, err = kube.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
}

func TestIngressConformance(t *testing.T) {
	ingress.RunConformance(t)
}
