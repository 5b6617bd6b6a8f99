package images

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// BuildUser is the user and group id under which builds run and to which the
// files of function images belong. Functions run as NonRoot, who cannot change
// them.
const BuildUser = "1000"

// RunStatic is the run image of functions that are one static program: Static
// with what the buildpacks platform specification asks of a run image
// (https://github.com/buildpacks/spec/blob/platform/0.14/platform.md#run-image).
func RunStatic(ctx context.Context, c *Cache) (v1.Image, error) {
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	img, err := buildpacksBase(base, "knit-static", NonRoot)
	if err != nil {
		return nil, fmt.Errorf("make run image: %w", err)
	}
	return img, nil
}

// buildpacksBase adds to the base the layers, the user and the variables and
// labels that the lifecycle and pack read from run and build images.
func buildpacksBase(base v1.Image, id, user string, layers ...v1.Layer) (v1.Image, error) {
	file, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	config.User = user + ":" + user
	config.Env = append(config.Env, "CNB_USER_ID="+BuildUser, "CNB_GROUP_ID="+BuildUser)
	config.Labels = map[string]string{
		"io.buildpacks.base.id":          id,
		"io.buildpacks.base.maintainer":  "Knit",
		"io.buildpacks.base.description": "made by Knit from Debian packages and this machine's Go",
	}
	return assemble(base, config, layers...)
}
