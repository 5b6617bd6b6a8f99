package knative

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// ComponentStatus is the state of one workload of Knative's control plane.
type ComponentStatus struct {
	Namespace, Name string
	Ready           bool
	// Message says what is wrong; for a ready workload it is empty or, for one
	// that runs only when it is needed, says so.
	Message string
}

// Ready reports every workload of the control plane, also those that are
// missing, by namespace and name. It returns an error only when the API server cannot
// be asked.
func Ready(ctx context.Context, cfg *rest.Config) ([]ComponentStatus, error) {
	in, err := newInstaller(cfg, nil)
	if err != nil {
		return nil, fmt.Errorf("state of Knative: %w", err)
	}
	expected, err := components()
	if err != nil {
		return nil, err
	}
	found := map[identity]*unstructured.Unstructured{}
	troubles := map[string][]string{}
	for _, c := range collectionsOf(expected) {
		list, err := in.dynamic.Resource(resourceOf(c.gvk)).Namespace(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("state of Knative: list %s in %s: %w; is the cluster up?", c.gvk.Kind, c.namespace, err)
		}
		for i := range list.Items {
			found[identityOf(&list.Items[i])] = &list.Items[i]
		}
		if _, read := troubles[c.namespace]; !read {
			troubles[c.namespace] = podTroubles(ctx, in.dynamic, c.namespace)
		}
	}
	out := make([]ComponentStatus, 0, len(expected))
	for _, id := range expected {
		out = append(out, componentStatus(id, found[id], troubles[id.namespace]))
	}
	return out, nil
}

func collectionsOf(ids []identity) []collection {
	var out []collection
	for _, id := range ids {
		if c := (collection{id.gvk(), id.namespace}); !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

func componentStatus(id identity, o *unstructured.Unstructured, troubles []string) ComponentStatus {
	s := ComponentStatus{Namespace: id.namespace, Name: id.name}
	if o == nil {
		s.Message = "missing; run `knit cluster up`"
		return s
	}
	s.Ready, s.Message = workloads[id.kind](o)
	if replicas, set, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); s.Ready && set && replicas == 0 {
		s.Message = "starts when it is needed"
	}
	for _, t := range troubles {
		if !s.Ready && strings.Contains(t, "/"+id.name+"-") {
			s.Message += "; " + t
		}
	}
	return s
}

// components are the workloads that the overlay patches, which are all
// (a test sees to it).
func components() ([]identity, error) {
	overlay, err := readOverlay(nil)
	if err != nil {
		return nil, err
	}
	var ids []identity
	for i := range overlay.Patches {
		if id := identityOf(&overlay.Patches[i]); workloads[id.kind] != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b identity) int {
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	return ids, nil
}

// podTroubles names the pods of a namespace that wait or crash, with the reason.
// It is for messages: what cannot be read is left out.
func podTroubles(ctx context.Context, client dynamic.Interface, namespace string) []string {
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	var out []string
	for _, item := range list.Items {
		var pod corev1.Pod
		if runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod) != nil {
			continue
		}
		name := "pod " + namespace + "/" + pod.Name
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				out = append(out, name+" is not scheduled: "+c.Message)
			}
		}
		for _, c := range pod.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				out = append(out, fmt.Sprintf("%s: %s: %s", name, w.Reason, w.Message))
			}
			if t := c.LastTerminationState.Terminated; t != nil && !c.Ready {
				out = append(out, fmt.Sprintf("%s ended before with code %d (%s); see its log", name, t.ExitCode, t.Reason))
			}
		}
	}
	return out
}
