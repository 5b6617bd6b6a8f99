// Package decision says what to do for a function's image: take the one that is
// there, put it on a newer base, or build. It also says which Builds are kept as
// history. Everything in it is a pure function of API objects: the controllers
// decide with it, the command line explains with it, and nothing here talks to
// anybody.
package decision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// The checks, in their order. Base is no input: another base is a rebase.
const (
	CheckSource   = "source"
	CheckRequest  = "request"
	CheckLanguage = "language"
	CheckEnv      = "env"
	CheckBuilder  = "builder"
	CheckBase     = "base"
)

// maxEnvText is how many bytes of variables' names are shown one by one.
const maxEnvText = 1 << 10

// Want are the inputs that a Function has now. platformBuilder is the builder
// image of the platform.
func Want(fn *v1alpha1.Function, platformBuilder string) v1alpha1.BuildInputs {
	spec := v1alpha1.BuildSpec{Language: fn.Spec.Language, Env: fn.Spec.Build.Env, BuilderImage: fn.Spec.Build.Builder}
	spec.Source, spec.Request = Source(fn)
	return Inputs(spec, platformBuilder)
}

// Source is the source of a Function's Build, and the request that goes with it:
// what an archive includes is in it already; a branch may have moved, and whoever
// wants another look says so by an annotation.
func Source(fn *v1alpha1.Function) (source v1alpha1.BuildSource, request string) {
	switch s := fn.Spec.Source; {
	case s.Git != nil:
		return v1alpha1.BuildSource{Git: s.Git.DeepCopy(), Include: s.Include}, fn.Annotations[v1alpha1.AnnotationRebuild]
	case s.Archive != nil:
		return v1alpha1.BuildSource{Archive: *s.Archive}, ""
	}
	return source, ""
}

// Inputs are those of a Build. What the platform hands to every build, such as
// a proxy or an index, is not among them: it says where packages come from, not
// which.
func Inputs(spec v1alpha1.BuildSpec, platformBuilder string) v1alpha1.BuildInputs {
	builder := spec.BuilderImage
	if builder == "" {
		builder = platformBuilder
	}
	parts := []v1alpha1.BuildInput{{Name: CheckSource, Value: sourceText(spec.Source)}}
	if spec.Source.Git != nil {
		parts = append(parts, v1alpha1.BuildInput{Name: CheckRequest, Value: spec.Request})
	}
	parts = append(parts, []v1alpha1.BuildInput{
		{Name: CheckLanguage, Value: string(spec.Language)},
		{Name: CheckEnv, Value: envText(spec.Env)},
		{Name: CheckBuilder, Value: builder},
	}...)
	return v1alpha1.BuildInputs{Hash: hash(parts), Parts: parts}
}

// of are the inputs of a Build as its controller recorded them or, before that,
// as far as its spec tells.
func of(b *v1alpha1.Build) v1alpha1.BuildInputs {
	if b.Status.Inputs != nil {
		return *b.Status.Inputs
	}
	return Inputs(b.Spec, "")
}

// sourceText names a source by all that chooses its files.
func sourceText(source v1alpha1.BuildSource) string {
	if source.Git == nil {
		if source.Archive.Path != "" {
			return source.Archive.Digest + ":" + source.Archive.Path
		}
		return source.Archive.Digest
	}
	git := source.Git
	text := git.URL
	for _, part := range []struct{ mark, value string }{{"@", git.Revision}, {":", git.Path}, {" with Secret ", git.SecretName}} {
		if part.value != "" {
			text += part.mark + part.value
		}
	}
	if git.Submodules {
		text += " with submodules"
	}
	if len(source.Include) > 0 {
		text += " with " + strings.Join(source.Include, ", ")
	}
	return text
}

// envText names variables with a digest of each value: enough to see what
// changed, and no copy of what may be meant for the build alone.
func envText(env []v1alpha1.BuildEnv) string {
	env = slices.Clone(env)
	slices.SortFunc(env, func(a, b v1alpha1.BuildEnv) int { return strings.Compare(a.Name, b.Name) })
	words := make([]string, 0, len(env))
	for _, e := range env {
		words = append(words, e.Name+"#"+digest(e.Value)[:8])
	}
	text := strings.Join(words, " ")
	if len(text) > maxEnvText {
		return fmt.Sprintf("%d variables#%s", len(env), digest(text))
	}
	return text
}

func hash(parts []v1alpha1.BuildInput) string {
	raw, err := json.Marshal(parts)
	if err != nil {
		panic("strings do not marshal: " + err.Error())
	}
	return "sha256:" + digest(string(raw))
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// part is the value of a part; found is false when it was not recorded.
func part(inputs v1alpha1.BuildInputs, name string) (value string, found bool) {
	i := slices.IndexFunc(inputs.Parts, func(p v1alpha1.BuildInput) bool { return p.Name == name })
	if i < 0 {
		return "", false
	}
	return inputs.Parts[i].Value, true
}

// Compare checks every part against what it was.
func Compare(was, is v1alpha1.BuildInputs) []v1alpha1.BuildCheck {
	checks := make([]v1alpha1.BuildCheck, 0, len(is.Parts))
	for _, now := range is.Parts {
		before, found := part(was, now.Name)
		check := v1alpha1.BuildCheck{Name: now.Name, Result: v1alpha1.CheckSame, Was: before, Is: now.Value}
		switch {
		case !found:
			check.Result = v1alpha1.CheckMissing
		case before != now.Value:
			check.Result = v1alpha1.CheckChanged
		}
		checks = append(checks, check)
	}
	return checks
}

// same reports whether all parts are the same but those excepted.
func same(a, b v1alpha1.BuildInputs, except ...string) bool {
	return !slices.ContainsFunc(Compare(a, b), func(c v1alpha1.BuildCheck) bool {
		return c.Result != v1alpha1.CheckSame && !slices.Contains(except, c.Name)
	})
}
