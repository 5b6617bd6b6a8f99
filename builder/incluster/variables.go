package incluster

import (
	"slices"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// functionPathVariable tells the buildpacks where the function's folder is
	// below the source's root, when it is not the root itself.
	functionPathVariable = "KNIT_FUNCTION_PATH"
	// languageVariable tells the buildpacks the language that the Function names.
	languageVariable = "KNIT_LANGUAGE"
)

// variables are those that the buildpacks get: the platform's, in their place
// the user's, and what Knit says about the source. Nobody else says that.
func (p Platform) variables(b *v1alpha1.Build) []v1alpha1.BuildEnv {
	var all []v1alpha1.BuildEnv
	add := func(env ...v1alpha1.BuildEnv) {
		for _, e := range env {
			i := slices.IndexFunc(all, func(other v1alpha1.BuildEnv) bool { return other.Name == e.Name })
			if i < 0 {
				all = append(all, e)
				continue
			}
			all[i] = e
		}
	}
	add(p.Env...)
	if p.IndexCA != "" {
		add(indexCAVariables...)
	}
	add(b.Spec.Env...)
	if b.Spec.Language != "" {
		add(v1alpha1.BuildEnv{Name: languageVariable, Value: string(b.Spec.Language)})
	}
	all = slices.DeleteFunc(all, func(e v1alpha1.BuildEnv) bool { return e.Name == functionPathVariable })
	// Check has found what is wrong with the path.
	if path, err := b.Spec.Source.FunctionPath(); err == nil && path != "." {
		add(v1alpha1.BuildEnv{Name: functionPathVariable, Value: path})
	}
	return all
}
