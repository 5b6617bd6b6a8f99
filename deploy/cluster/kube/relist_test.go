package kube

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/pleg"
)

var _ relister = &pleg.GenericPLEG{}

type countingGenerator struct{ relists atomic.Int32 }

func (c *countingGenerator) Relist() { c.relists.Add(1) }

func TestTheKubeletStillHasItsGenerator(t *testing.T) {
	// An empty kubelet has none; what counts is that its field is found.
	if _, err := generatorOf(&kubelet.Kubelet{}); err == nil || err.Error() != "find the kubelet's pod lifecycle event generator: <nil> cannot relist" {
		t.Errorf("error %v: has the kubelet changed?", err)
	}
}

func TestLooksAfterChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		changes, generator := make(chan struct{}, 1), &countingGenerator{}
		go relistAfter(ctx, changes, generator)
		expect := func(want int32, why string) {
			t.Helper()
			synctest.Wait()
			if got := generator.relists.Load(); got != want {
				t.Fatalf("%d looks, want %d: %s", got, want, why)
			}
		}
		time.Sleep(time.Minute)
		expect(0, "nothing changed")
		for range 3 {
			changes <- struct{}{}
			synctest.Wait()
		}
		time.Sleep(looks[0])
		expect(1, "changes at once are one look")
		time.Sleep(looks[1] - looks[0])
		expect(2, "the runtime may have been late")
		changes <- struct{}{}
		time.Sleep(looks[0])
		expect(3, "a change between looks is seen as soon as any")
		time.Sleep(time.Minute)
		expect(5, "and has its own later looks")
	})
}
