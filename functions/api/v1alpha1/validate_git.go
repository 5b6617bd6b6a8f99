package v1alpha1

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/layout"
)

// Validate finds what the schema could not: an address that no platform would
// go to, and paths that leave the repository. What a platform allows beyond
// that is found where its settings are known.
func (g *GitSource) Validate(at *field.Path, include []string) field.ErrorList {
	var errs field.ErrorList
	address, err := gitsource.Parse(g.URL)
	if err == nil {
		err = gitsource.AnyPlatform().Check(address)
	}
	if err != nil {
		errs = append(errs, field.Invalid(at.Child("url"), g.shownURL(), err.Error()))
	}
	if address.Scheme == gitsource.SSH && g.SecretName == "" {
		errs = append(errs, field.Required(at.Child("secretName"), "ssh needs a key: name a Secret of type kubernetes.io/ssh-auth"))
	}
	if strings.HasPrefix(g.Revision, "-") || strings.Contains(g.Revision, "..") {
		errs = append(errs, field.Invalid(at.Child("revision"), g.Revision, "must be a branch, a tag or a full commit"))
	}
	if _, err := layout.New(g.Path, include); err != nil {
		errs = append(errs, field.Invalid(at.Child("path"), g.Path, err.Error()))
	}
	return errs
}

// shownURL is the address as a message may repeat it: not what may be a secret.
func (g *GitSource) shownURL() string {
	if before, after, found := strings.Cut(g.URL, "@"); found && strings.Contains(before, "://") {
		scheme, _, _ := strings.Cut(before, "://")
		return scheme + "://…@" + after
	}
	return g.URL
}

// validate finds what the schema of a Function's source could not.
func (s *Source) validate(at *field.Path) field.ErrorList {
	if s.Git != nil {
		return s.Git.Validate(at.Child("git"), s.Include)
	}
	if s.Archive != nil {
		if _, err := layout.New(s.Archive.Path, nil); err != nil {
			return field.ErrorList{field.Invalid(at.Child("archive", "path"), s.Archive.Path, err.Error())}
		}
	}
	return nil
}

// FunctionPath is where the function's folder is in the source of a build,
// slash-separated; "." is the source itself.
func (s BuildSource) FunctionPath() (string, error) {
	if s.Git == nil {
		l, err := layout.New(s.Archive.Path, nil)
		return l.Root, err
	}
	l, err := layout.New(s.Git.Path, s.Include)
	return l.Function, err
}
