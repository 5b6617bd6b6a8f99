package decision

import "github.com/knit-dev/knit/functions/api/v1alpha1"

// Foretell is what will be decided about a Function, as far as can be said
// without the platform's settings, which people cannot read: its builder is taken
// to be that of the newest Build, and its bases to be those in use.
func Foretell(fn *v1alpha1.Function, builds []v1alpha1.Build) Answer {
	builder := ""
	if last := newestFirst(builds); len(last) > 0 {
		builder = Builder(last[0])
	}
	return Decide(Question{Want: Want(fn, builder), Builds: builds, RebuildOnNewBuilder: true})
}
