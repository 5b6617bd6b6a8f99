package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	faultRate  = 100 // events a second
	faultAfter = 5 * time.Second
	faultFor   = 20 * time.Second
	away       = 3 * time.Second // how long the subscriber does not listen
)

// patient is a delivery that outlasts each fault.
var patient = map[string]any{"retry": int64(8), "backoffPolicy": "exponential", "backoffDelay": "PT0.1S"}

// measureEventFaults kills one part of the way of events in the middle of a
// steady load, and counts what became of the events that were accepted.
func (b *bench) measureEventFaults(ctx context.Context) ([]figure, error) {
	k, err := b.newBroker(ctx, 1, patient)
	if err != nil {
		return nil, err
	}
	defer k.remove(context.WithoutCancel(ctx))
	faults := []struct {
		name string
		do   func(context.Context) error
	}{
		{"nothing is killed", func(context.Context) error { return nil }},
		{"the broker's ingress is killed", func(ctx context.Context) error { return k.kill(ctx, "eventing.knative.dev/brokerRole=ingress") }},
		{"the broker's filter is killed", func(ctx context.Context) error { return k.kill(ctx, "eventing.knative.dev/brokerRole=filter") }},
		{"the channel's dispatcher is killed", func(ctx context.Context) error { return k.kill(ctx, "messaging.knative.dev/role=dispatcher") }},
		{fmt.Sprintf("the subscriber does not listen for %v", away), func(ctx context.Context) error { return k.deafen(ctx) }},
	}
	var figures []figure
	for _, fault := range faults {
		failed := make(chan error, 1)
		go func() {
			err := sleep(ctx, faultAfter)
			if err == nil {
				err = fault.do(ctx)
			}
			failed <- err
		}()
		l, err := k.steady(ctx, faultRate, faultFor, 1_000)
		if err != nil {
			return nil, err
		}
		if err := <-failed; err != nil {
			return nil, fmt.Errorf("%s: %w", fault.name, err)
		}
		once, more, never := l.balance()
		refused := int(faultRate*faultFor.Seconds()) - once - more - never
		figures = append(figures, figure{
			fmt.Sprintf("%s: refused %d, came once %d, more often %d, never %d", fault.name, refused, once, more, never), "", l.latency,
		})
		if err := k.warm(ctx); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

// kill ends the pods with a label in knative-eventing without a word.
func (k *broker) kill(ctx context.Context, selector string) error {
	pods, err := k.kube.CoreV1().Pods("knative-eventing").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("no pod of knative-eventing has the label %s: is this another class of broker?", selector)
	}
	now := int64(0)
	for _, pod := range pods.Items {
		if err := k.kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			return err
		}
	}
	return nil
}

func (k *broker) deafen(ctx context.Context) error {
	if err := k.receiver.server.Close(); err != nil {
		return err
	}
	if err := sleep(ctx, away); err != nil {
		return err
	}
	return k.receiver.listen(&k.receiver)
}

// memory is the working set of Knative Eventing, in MiB.
func (k *broker) memory(ctx context.Context) (samples, error) {
	used, err := k.bench.workingSet(ctx, k.kube, "knative-eventing", "")
	return samples{unit: "MiB", values: []float64{used}}, err
}
