package kube

import (
	"context"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"k8s.io/kubernetes/pkg/kubelet"
)

// The kubelet compares its pods with the runtime's containers once a second, so
// each step of a pod waits half a second on average: four containers of a build
// one after the other, two seconds. Here it also looks when the runtime says
// that something changed. Its own look every second goes on as the safety net.
//
// The runtime tells of a change before its own list shows it, so there is more
// than one look; later ones also see what the first was too early for.
var looks = []time.Duration{10 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}

// relister is what the kubelet's lifecycle event generator can do besides its
// interface.
type relister interface{ Relist() }

// relistOnChange hands the kubelet's generator to a goroutine that relists
// after changes.
func relistOnChange(ctx context.Context, watch func(context.Context, func())) kubelet.Option {
	return func(k *kubelet.Kubelet) {
		generator, err := generatorOf(k)
		if err != nil {
			return // slower, not broken; a test of this package tells
		}
		changes := make(chan struct{}, 1)
		go watch(ctx, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
		go relistAfter(ctx, changes, generator)
	}
}

// generatorOf reads a field of the kubelet that has no accessor.
func generatorOf(k *kubelet.Kubelet) (relister, error) {
	field := reflect.ValueOf(k).Elem().FieldByName("pleg")
	if !field.IsValid() {
		return nil, fmt.Errorf("find the kubelet's pod lifecycle event generator: no field pleg")
	}
	value := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface()
	generator, ok := value.(relister)
	if !ok {
		return nil, fmt.Errorf("find the kubelet's pod lifecycle event generator: %T cannot relist", value)
	}
	return generator, nil
}

// relistAfter relists at each of looks after a change. A change in between
// begins the looks anew, so the list is read at most once in the first of them.
func relistAfter(ctx context.Context, changes <-chan struct{}, generator relister) {
	timer := time.NewTimer(0)
	timer.Stop()
	next, since := len(looks), time.Time{}
	for {
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changes:
			if next == 0 {
				continue // the first look is still to come
			}
			next, since = 0, time.Now()
			timer.Reset(looks[0])
		case <-timer.C:
			generator.Relist()
			next++
			if next < len(looks) {
				timer.Reset(time.Until(since.Add(looks[next])))
			}
		}
	}
}
