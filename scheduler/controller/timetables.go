package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/scheduler"
)

// timetableOf reads the timetable of a Schedule, and keeps it: reading a time zone
// takes longer than all the rest of a look that has nothing to do.
func (r *Reconciler) timetableOf(s *v1alpha1.Schedule) (scheduler.Timetable, error) {
	key := client.ObjectKeyFromObject(s)
	if k, ok := r.timetables.get(key); ok && k.uid == s.UID && k.generation == s.Generation {
		return k.timetable, nil
	}
	timetable, err := scheduler.Parse(scheduler.TimesOf(s))
	if err != nil {
		return timetable, fmt.Errorf("spec.%w", err)
	}
	r.timetables.put(key, keptTimetable{uid: s.UID, generation: s.Generation, timetable: timetable})
	return timetable, nil
}

// keptTimetable is the timetable of one generation of a Schedule.
type keptTimetable struct {
	uid        types.UID
	generation int64
	timetable  scheduler.Timetable
}
