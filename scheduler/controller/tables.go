package controller

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// tables keeps timetables: reading a time zone takes longer than all the rest of
// a look at a Schedule that has nothing to do.
type tables struct {
	mu    sync.Mutex
	known map[client.ObjectKey]table
}

type table struct {
	uid        types.UID
	generation int64
	timetable  scheduler.Timetable
}

func (t *tables) of(s *v1alpha1.Schedule) (scheduler.Timetable, error) {
	key := client.ObjectKeyFromObject(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.known[key]; ok && k.uid == s.UID && k.generation == s.Generation {
		return k.timetable, nil
	}
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		return timetable, fmt.Errorf("spec.%w", err)
	}
	if t.known == nil {
		t.known = map[client.ObjectKey]table{}
	}
	t.known[key] = table{uid: s.UID, generation: s.Generation, timetable: timetable}
	return timetable, nil
}

func (t *tables) forget(key client.ObjectKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, key)
}
