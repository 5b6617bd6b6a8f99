package controller

import (
	"context"

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
	// seen are the resource versions that were read from the API server, or
	// written to it.
	seen memory[string]
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
	f.seen.put(key, s.ResourceVersion)
	return &s, nil
}

func (f *freshReader) fresh(key client.ObjectKey, version string) bool {
	seen, known := f.seen.get(key)
	if !known {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, seen)
	return err == nil && order >= 0
}
