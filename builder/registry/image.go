package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// architecture of the images that this cluster's builders run.
const architecture = runtime.GOARCH

// Labels of the CNB platform specification.
const (
	lifecycleLabel = "io.buildpacks.lifecycle.metadata"
	builderLabel   = "io.buildpacks.builder.metadata"
	rebasableLabel = "io.buildpacks.rebasable"
)

// Base is what a built image stands on.
type Base struct {
	RunImage  string // by digest; "" when the image does not say
	Rebasable bool   // it can be put on another base
}

// Base reads the base of an image that the lifecycle exported.
func (c Client) Base(ctx context.Context, reference string) (Base, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	file, _, err := c.config(ctx, reference)
	if err != nil {
		return Base{}, err
	}
	base := Base{Rebasable: file.Config.Labels[rebasableLabel] != "false"}
	var label struct {
		RunImage struct{ Reference string } `json:"runImage"`
	}
	if err := json.Unmarshal([]byte(file.Config.Labels[lifecycleLabel]), &label); err != nil {
		return Base{}, fmt.Errorf("read the base of %s: its label %s is no JSON: %w", reference, lifecycleLabel, err)
	}
	// A reference without a digest says nothing about what the base was.
	if ref, err := name.NewDigest(label.RunImage.Reference); err == nil {
		base.RunImage = ref.String()
	}
	return base, nil
}

// Digest is the reference by digest of what a tag names at present.
func (c Client) Digest(ctx context.Context, reference string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, digest, err := c.config(ctx, reference)
	if err != nil {
		return "", err
	}
	return digest.String(), nil
}

// Builder is what a CNB builder image says of itself.
type Builder struct {
	Image           string // by digest
	UserID, GroupID int64
	PlatformAPIs    []string
	RunImage        string
}

// Builder reads a builder image. A builder that does not say what the
// specification wants, or wants to run as root, is an error.
func (c Client) Builder(ctx context.Context, reference string) (Builder, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	file, digest, err := c.config(ctx, reference)
	if err != nil {
		return Builder{}, err
	}
	b, err := readBuilder(file)
	if err != nil {
		return Builder{}, fmt.Errorf("the builder %s: %w", reference, err)
	}
	b.Image = digest.String()
	return b, nil
}

func readBuilder(file *v1.ConfigFile) (Builder, error) {
	var label struct {
		Stack struct {
			RunImage struct{ Image string } `json:"runImage"`
		}
		RunImages []struct{ Image string } `json:"images"`
		Lifecycle struct {
			API  struct{ Platform string }
			APIs struct {
				Platform struct{ Deprecated, Supported []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(file.Config.Labels[builderLabel]), &label); err != nil {
		return Builder{}, fmt.Errorf("its label %s is no JSON; is it a builder? %w", builderLabel, err)
	}
	var b Builder
	var err error
	if b.UserID, err = userOf(file, "CNB_USER_ID"); err != nil {
		return Builder{}, err
	}
	if b.GroupID, err = userOf(file, "CNB_GROUP_ID"); err != nil {
		return Builder{}, err
	}
	if b.PlatformAPIs = label.Lifecycle.APIs.Platform.Supported; len(b.PlatformAPIs) == 0 {
		b.PlatformAPIs = []string{label.Lifecycle.API.Platform}
	}
	b.RunImage = label.Stack.RunImage.Image
	if len(label.RunImages) > 0 {
		b.RunImage = label.RunImages[0].Image
	}
	if _, err := name.ParseReference(b.RunImage); err != nil {
		return Builder{}, errors.New("its label names no run image")
	}
	return b, nil
}

// maxID is the largest user or group: Linux' overflow users come after it.
const maxID = 1<<31 - 1

func userOf(file *v1.ConfigFile, variable string) (int64, error) {
	for _, env := range file.Config.Env {
		value, found := strings.CutPrefix(env, variable+"=")
		if !found {
			continue
		}
		id, err := strconv.ParseInt(value, 10, 64)
		if err != nil || id <= 0 || id > maxID {
			return 0, fmt.Errorf("its variable %s is %q, and must be a number above 0: builds never run as root", variable, value)
		}
		return id, nil
	}
	return 0, fmt.Errorf("it has no variable %s; is it a builder?", variable)
}
