package decision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Question is all that a decision depends on.
type Question struct {
	// Want are the inputs that the image shall have.
	Want v1alpha1.BuildInputs
	// Builds are those of the function that are not being deleted.
	Builds []v1alpha1.Build
	// Bases are the newest run images, by digest, at most one of a repository.
	Bases []string
	// RebuildOnNewBuilder builds again what another builder has built.
	RebuildOnNewBuilder bool
}

// Answer is a decision and what it is about.
type Answer struct {
	v1alpha1.BuildDecision
	// Use is the succeeded Build whose image serves now; nil when there is none
	// of this source.
	Use *v1alpha1.Build
	// Next is the Build that was made for the result already: under way, or
	// failed. It is nil when the result is reuse, or the Build is yet to be made.
	Next *v1alpha1.Build
	// Base is the run image of a rebase.
	Base string
}

// Background reports whether nobody waits for the result: there is an image of
// the wanted source.
func (a Answer) Background() bool { return a.Use != nil }

// Decide is the whole chain: an image of the same inputs is reused; one that
// stands on an old base is put on the new one; everything else is built.
func Decide(q Question) Answer {
	builds := newestFirst(q.Builds)
	exact := filter(builds, func(b *v1alpha1.Build) bool { return same(of(b), q.Want) })
	near := newest(builds, func(b *v1alpha1.Build) bool { return succeeded(b) && same(of(b), q.Want, CheckBuilder) })

	// What took over an earlier image says less than the Build that made it.
	use := newest(exact, func(b *v1alpha1.Build) bool { return succeeded(b) && b.Status.ReusedFrom == "" })
	if use == nil {
		use = newest(exact, succeeded)
	}
	if use == nil && near != nil && !q.RebuildOnNewBuilder {
		use = near
	}
	if use != nil {
		return q.onBase(use, builds)
	}
	answer := Answer{Use: near}
	answer.Next = newest(exact, func(b *v1alpha1.Build) bool { return b.Spec.Rebase == nil })
	last := newest(builds, func(b *v1alpha1.Build) bool { return b != answer.Next })
	answer.BuildDecision = Why(last, q.Want)
	return answer
}

// Builder is the builder image that a Build's inputs name.
func Builder(b *v1alpha1.Build) string {
	value, _ := part(of(b), CheckBuilder)
	return value
}

// Why is the decision to build, against the Build before; nil when it is the first.
func Why(last *v1alpha1.Build, want v1alpha1.BuildInputs) v1alpha1.BuildDecision {
	d := v1alpha1.BuildDecision{Result: v1alpha1.DecisionBuild}
	if last == nil {
		d.Reason, d.Checks = "there is no earlier build", Compare(v1alpha1.BuildInputs{}, want)
		return d
	}
	d.Against, d.Checks = last.Name, Compare(of(last), want)
	d.Reason = differs(d.Checks)
	if d.Reason == "" {
		d.Reason = fmt.Sprintf("build %s of the same inputs has left no image", last.Name)
		if succeeded(last) {
			d.Reason = "it was asked for"
		}
	}
	return d
}

// onBase decides about an image that is there: reuse, or rebase.
func (q Question) onBase(use *v1alpha1.Build, builds []*v1alpha1.Build) Answer {
	answer := Answer{Use: use}
	answer.BuildDecision = Reuse(use, q.Want)
	base := newestBase(use.Status.RunImage, q.Bases)
	if base == "" {
		return answer
	}
	check := v1alpha1.BuildCheck{Name: CheckBase, Result: v1alpha1.CheckSame, Was: use.Status.RunImage, Is: base}
	if base != use.Status.RunImage {
		check.Result = v1alpha1.CheckChanged
		answer.Base, answer.Result, answer.Reason = base, v1alpha1.DecisionRebase, "the base changed"
		answer.Next = newest(builds, func(b *v1alpha1.Build) bool { return isRebase(b, use, base) })
	}
	answer.Checks = append(answer.Checks, check)
	return answer
}

// Reuse is the decision to take the image of a Build.
func Reuse(use *v1alpha1.Build, want v1alpha1.BuildInputs) v1alpha1.BuildDecision {
	d := v1alpha1.BuildDecision{Result: v1alpha1.DecisionReuse, Against: use.Name, Checks: Compare(of(use), want)}
	d.Reason = "nothing changed"
	if changed := differs(d.Checks); changed != "" {
		d.Reason = changed + ", and the platform's setting rebuild-on-new-builder is off"
	}
	return d
}

// Same finds the newest succeeded Build of equal inputs, besides b itself.
func Same(b *v1alpha1.Build, want v1alpha1.BuildInputs, builds []v1alpha1.Build) *v1alpha1.Build {
	return newest(newestFirst(builds), func(other *v1alpha1.Build) bool {
		return other.Name != b.Name && succeeded(other) && other.Status.ReusedFrom == "" && same(of(other), want)
	})
}

// Before finds the newest Build that was there before b.
func Before(b *v1alpha1.Build, builds []v1alpha1.Build) *v1alpha1.Build {
	return newest(newestFirst(builds), func(other *v1alpha1.Build) bool {
		return other.Name != b.Name && !b.CreationTimestamp.Before(&other.CreationTimestamp)
	})
}

// isRebase reports whether a Build is the attempt to put that image on that base.
func isRebase(b, use *v1alpha1.Build, base string) bool {
	return b.Spec.Rebase != nil && b.Spec.Rebase.RunImage == base && strings.HasSuffix(use.Status.Image, "@"+b.Spec.Rebase.Digest)
}

// newestBase is the run image of the same repository, "" when there is none.
func newestBase(present string, bases []string) string {
	repository, _, found := strings.Cut(present, "@")
	if !found {
		return ""
	}
	i := slices.IndexFunc(bases, func(base string) bool { return strings.HasPrefix(base, repository+"@") })
	if i < 0 {
		return ""
	}
	return bases[i]
}

// differs says which part changed first, "" when none did.
func differs(checks []v1alpha1.BuildCheck) string {
	for _, c := range checks {
		switch c.Result {
		case v1alpha1.CheckChanged:
			return "the " + c.Name + " changed"
		case v1alpha1.CheckMissing:
			return "the earlier build did not record its " + c.Name
		}
	}
	return ""
}

func succeeded(b *v1alpha1.Build) bool {
	_, ok := b.Done()
	return ok && b.Status.Image != ""
}

func filter(builds []*v1alpha1.Build, keep func(*v1alpha1.Build) bool) []*v1alpha1.Build {
	return slices.DeleteFunc(slices.Clone(builds), func(b *v1alpha1.Build) bool { return !keep(b) })
}

func newest(builds []*v1alpha1.Build, fits func(*v1alpha1.Build) bool) *v1alpha1.Build {
	i := slices.IndexFunc(builds, fits)
	if i < 0 {
		return nil
	}
	return builds[i]
}

// newestFirst orders Builds by their creation; the name decides within a second.
func newestFirst(builds []v1alpha1.Build) []*v1alpha1.Build {
	ordered := make([]*v1alpha1.Build, 0, len(builds))
	for i := range builds {
		ordered = append(ordered, &builds[i])
	}
	slices.SortFunc(ordered, func(a, b *v1alpha1.Build) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return ordered
}
