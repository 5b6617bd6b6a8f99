package controller

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// freshReader reads Schedules from the cache, but never one that is older than
// what this process has seen: from a status before the last sending, the same
// would be sent again. The first time it asks the API server, because the cache
// may be from before another process was the leader.
type freshReader struct {
	cache, live client.Reader

	mu   sync.Mutex
	seen map[client.ObjectKey]string // resource versions
}

func newFreshReader(cache, live client.Reader) *freshReader {
	return &freshReader{cache: cache, live: live, seen: map[client.ObjectKey]string{}}
}

func (f *freshReader) get(ctx context.Context, key client.ObjectKey) (*v1alpha1.Schedule, error) {
	var s v1alpha1.Schedule
	if err := f.cache.Get(ctx, key, &s); err != nil {
		return nil, err
	}
	if f.fresh(key, s.ResourceVersion) {
		return &s, nil
	}
	s = v1alpha1.Schedule{}
	if err := f.live.Get(ctx, key, &s); err != nil {
		return nil, err
	}
	f.saw(key, s.ResourceVersion)
	return &s, nil
}

func (f *freshReader) fresh(key client.ObjectKey, version string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, known := f.seen[key]
	if !known {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, seen)
	return err == nil && order >= 0
}

// saw notes what was read from the API server, or written to it.
func (f *freshReader) saw(key client.ObjectKey, version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[key] = version
}

func (f *freshReader) forget(key client.ObjectKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.seen, key)
}
