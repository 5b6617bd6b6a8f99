package decision

import "github.com/knit-dev/knit/functions/api/v1alpha1"

// Old are the ended Builds of a function that its history does not need: all
// but the newest keep, and those that inUse names. Of the Builds that only took
// over an earlier image, the newest is kept alone: they say nothing new.
func Old(builds []v1alpha1.Build, keep int, inUse func(*v1alpha1.Build) bool) []*v1alpha1.Build {
	var old []*v1alpha1.Build
	kept, reused := 0, false
	for _, b := range newestFirst(builds) {
		ended, _ := b.Done()
		if !ended || inUse(b) {
			continue
		}
		repeats := b.Status.ReusedFrom != "" && reused
		reused = reused || b.Status.ReusedFrom != ""
		if kept < keep && !repeats {
			kept++
			continue
		}
		old = append(old, b)
	}
	return old
}
