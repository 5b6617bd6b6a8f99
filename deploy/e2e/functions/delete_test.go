//go:build e2e

package functions

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// fleeting are kinds that tell of others and go by themselves.
// Pods of the neighbours come and go with the requests to them.
var fleeting = []string{"events", "endpointslices", "endpoints", "pods"}

// objects lists everything in the namespace, of every kind that can be listed.
func (s *stage) objects() []string {
	s.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		s.t.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200
	lists, err := s.kube.Discovery().ServerPreferredNamespacedResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		s.t.Fatal(err)
	}
	kinds := discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists)
	var all []string
	for _, list := range kinds {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, kind := range list.APIResources {
			if !slices.Contains(fleeting, kind.Name) {
				all = append(all, s.list(dynamic.NewForConfigOrDie(config), group.WithResource(kind.Name))...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *stage) list(api dynamic.Interface, kind schema.GroupVersionResource) []string {
	s.t.Helper()
	objects, err := api.Resource(kind).Namespace(s.namespace).List(s.t.Context(), metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	if err != nil {
		s.t.Fatalf("list %v: %v", kind, err)
	}
	var all []string
	for _, o := range objects.Items {
		all = append(all, kind.GroupResource().String()+" "+o.GetName()+" "+string(o.GetUID()))
	}
	return all
}

// buildPods are the pods that build for the namespace.
func (s *stage) buildPods() []corev1.Pod {
	s.t.Helper()
	pods, err := s.kube.CoreV1().Pods(v1alpha1.NamespaceBuilds).List(s.t.Context(), metav1.ListOptions{LabelSelector: "knit.dev/build-namespace=" + s.namespace})
	if err != nil {
		s.t.Fatal(err)
	}
	return pods.Items
}

// A Function that was built, is wired and is asked all the time goes, and all
// that was made for it; what stands beside it, of the same kinds, stays.
func TestDeleteUnderLoadTakesItsOwnAndNothingElse(t *testing.T) {
	t.Parallel()
	p := newProject(t, "hello")
	s := newStage(t)
	s.namespace = p.namespace
	s.create(greet(s.function("neighbour"), "neighbour"))
	neighbour := s.ready("neighbour").Status.URL
	s.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hello"}},
		&servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: "hello-by-hand"}, Spec: servingv1.ServiceSpec{ConfigurationSpec: servingv1.ConfigurationSpec{
			Template: servingv1.RevisionTemplateSpec{Spec: servingv1.RevisionSpec{PodSpec: corev1.PodSpec{Containers: []corev1.Container{{Image: s.probe()}}}}},
		}}})
	p.replace("knit.yaml", "    - broker: default", "    - broker: other")
	s.broker("other")
	s.within(2*time.Minute, "the one by hand is ready", func() (bool, string) {
		var byHand servingv1.Service
		return s.there("hello-by-hand", &byHand) && byHand.IsReady(), fmt.Sprint(byHand.Status.Conditions)
	})
	before := s.objects()
	p.knit("deploy", p.folder)
	url := s.ready("hello").Status.URL
	if made := s.objects(); len(made) < len(before)+8 || len(s.buildPods()) != 1 {
		t.Fatalf("%d objects before, %d with the Function, %d build pods: this test looks in the wrong places", len(before), len(made), len(s.buildPods()))
	}
	stop, beside := s.load(url, "/", 2), s.load(neighbour, "/", 2)
	if out := p.knit("delete", p.folder); !strings.Contains(out, "function hello deleted") {
		t.Errorf("delete: %s", out)
	}
	var diff string
	s.within(2*time.Minute, "everything of the Function is gone", func() (bool, string) {
		diff = cmp.Diff(before, s.objects())
		return diff == "" && len(s.buildPods())+len(s.pods("hello")) == 0, diff
	})
	stop()
	if asked, failed := beside(); asked == 0 || len(failed) > 0 {
		t.Errorf("%d of %d requests to the neighbour failed: %q", len(failed), asked, failed)
	}
	if answer, err := askPath(t.Context(), neighbour, "/"); err != nil || !strings.HasSuffix(answer, "neighbour") {
		t.Errorf("the neighbour: %q %v", answer, err)
	}
}

// broker makes a Broker, which is nobody's, and waits until all that Knative
// makes for it is there.
func (s *stage) broker(name string) {
	s.t.Helper()
	b := &eventingv1.Broker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.create(b)
	s.within(2*time.Minute, "Broker "+name+" is ready", func() (bool, string) {
		err := s.api.Get(s.t.Context(), client.ObjectKeyFromObject(b), b)
		return err == nil && b.IsReady(), fmt.Sprint(err, b.Status.Conditions)
	})
}
