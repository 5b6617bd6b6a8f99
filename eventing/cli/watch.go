package cli

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// together is a client whose Watch tells of changes of several kinds at once.
type together struct {
	client.WithWatch
	kinds []kind
}

// Watch watches all kinds with the same options, whichever list is given. When
// the server ends one of the watches, all end.
func (t together) Watch(ctx context.Context, _ client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	all := &merged{changes: make(chan watch.Event), cancel: cancel}
	var running sync.WaitGroup
	for _, k := range t.kinds {
		one, err := t.WithWatch.Watch(ctx, k.list(), options...)
		if err != nil {
			cancel()
			return nil, explain(err)
		}
		running.Go(func() { all.pass(ctx, one) })
	}
	go func() {
		running.Wait()
		close(all.changes)
	}()
	return all, nil
}

// merged is the outcome of several watches.
type merged struct {
	changes chan watch.Event
	cancel  context.CancelFunc
}

// Stop ends all watches.
func (m *merged) Stop() { m.cancel() }

// ResultChan tells of changes, and is closed when the watches have ended.
func (m *merged) ResultChan() <-chan watch.Event { return m.changes }

// pass hands on the changes of one watch until it ends.
func (m *merged) pass(ctx context.Context, one watch.Interface) {
	defer m.cancel()
	defer one.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case change, open := <-one.ResultChan():
			if !open {
				return
			}
			select {
			case m.changes <- change:
			case <-ctx.Done():
				return
			}
		}
	}
}
