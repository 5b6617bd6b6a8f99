package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// measurePods times a pod of a static Go server from its creation until it is
// Ready, its image present, as a watch sees it.
func (b *bench) measurePods(ctx context.Context) ([]figure, error) {
	kube, _, err := b.clients()
	if err != nil {
		return nil, err
	}
	var s samples
	for n := range b.samples + 1 {
		d, err := timePod(ctx, kube, b.pod(fmt.Sprintf("bench-%d", n)))
		if err != nil {
			return nil, err
		}
		if n > 0 { // the first pulls the image
			s.add(d)
		}
	}
	return []figure{{"pod created → Ready, image present", "p50 ≤ 700 ms", s}}, nil
}

func (b *bench) pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "probe", Image: b.image,
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}},
				PeriodSeconds: 1,
			},
		}}},
	}
}

func timePod(ctx context.Context, kube kubernetes.Interface, p *corev1.Pod) (time.Duration, error) {
	pods := kube.CoreV1().Pods("default")
	w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", p.Name).String()})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	begin := time.Now()
	if _, err := pods.Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	took := time.Duration(0)
	for e := range w.ResultChan() {
		if pod, ok := e.Object.(*corev1.Pod); ok && e.Type == watch.Modified && isReady(pod) {
			took = time.Since(begin)
			break
		}
	}
	now := int64(0)
	if err := pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return 0, err
	}
	if took == 0 {
		return 0, fmt.Errorf("pod %s: the watch ended before it was ready", p.Name)
	}
	return took, sleep(ctx, 300*time.Millisecond) // its removal is not the next one's time
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
