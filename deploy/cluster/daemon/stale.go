package daemon

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/deploy/cluster/containerd"
)

// correctPods tells the API which pods did not survive the time that the
// cluster was down. Without it their old Ready condition would stand until the
// kubelet gets to them, services would send requests to addresses where nobody
// is, and `up` would take yesterday's readiness for today's.
func (d *daemon) correctPods(ctx context.Context, client kubernetes.Interface) error {
	running, err := containerd.RunningPods(ctx, d.Instance)
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for n := range pods.Items {
		p := &pods.Items[n]
		if running[string(p.UID)] || !markStopped(p) {
			continue
		}
		_, err := client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, p, metav1.UpdateOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("correct the status of pod %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	return nil
}

// markStopped makes a pod that was ready not ready and tells whether it was.
func markStopped(p *corev1.Pod) (changed bool) {
	for n := range p.Status.Conditions {
		c := &p.Status.Conditions[n]
		if (c.Type == corev1.PodReady || c.Type == corev1.ContainersReady) && c.Status == corev1.ConditionTrue {
			c.Status, c.Reason, c.Message = corev1.ConditionFalse, "ClusterStopped", "The cluster was stopped; the pod is being started again."
			c.LastTransitionTime = metav1.Now()
			changed = true
		}
	}
	for n := range p.Status.ContainerStatuses {
		if changed {
			p.Status.ContainerStatuses[n].Ready = false
		}
	}
	return changed
}
