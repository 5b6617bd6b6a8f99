package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// platformName is the ConfigMap that the installation writes.
const platformName = v1alpha1.PlatformConfigMap

// errPlatform is a fault of the settings, which a person must repair.
type errPlatform struct {
	reason string
	error
}

func (e errPlatform) Unwrap() error { return e.error }

// settings are the platform's, in the forms in which builds need them.
type settings struct {
	v1alpha1.BuildSettings
	images  v1alpha1.Platform
	cluster incluster.Platform
}

func (s settings) limits() queueLimits {
	return queueLimits{perNamespace: s.PerNamespace, total: s.Total}
}

// settings reads the settings anew for every build, so that a new builder
// image holds from the next build on, without a restart.
func (r *Reconciler) settings(ctx context.Context) (settings, error) {
	key := types.NamespacedName{Namespace: r.options.SystemNamespace, Name: platformName}
	var stored corev1.ConfigMap
	err := r.live.Get(ctx, key, &stored)
	if apierrors.IsNotFound(err) {
		return settings{}, errPlatform{v1alpha1.ReasonPlatformNotFound, fmt.Errorf("ConfigMap %s is not there: run `knit install`", key)}
	}
	if err != nil {
		return settings{}, fmt.Errorf("read the platform settings in ConfigMap %s: %w", key, err)
	}
	images, err := v1alpha1.ParsePlatform(stored.Data)
	if err != nil {
		return settings{}, errPlatform{v1alpha1.ReasonPlatformNotFound, err}
	}
	builds, err := v1alpha1.ParseBuildSettings(stored.Data)
	if err != nil {
		return settings{}, errPlatform{v1alpha1.ReasonPlatformInvalid, err}
	}
	git, err := gitsource.ParsePolicy(stored.Data[v1alpha1.SettingGitHosts], stored.Data[v1alpha1.SettingGitRanges])
	if err != nil {
		return settings{}, errPlatform{v1alpha1.ReasonPlatformInvalid, fmt.Errorf("ConfigMap %s: %w; correct it with knit install", key, err)}
	}
	cluster := r.cluster(images, builds)
	cluster.Git, cluster.GitKnownHosts = git, stored.Data[v1alpha1.SettingGitKnownHosts]
	return settings{BuildSettings: builds, images: images, cluster: cluster}, nil
}

// cluster is what the settings mean for a pod.
func (r *Reconciler) cluster(images v1alpha1.Platform, builds v1alpha1.BuildSettings) incluster.Platform {
	return incluster.Platform{
		Namespace:       r.options.BuildNamespace,
		Registry:        images.Registry,
		Prefix:          images.RegistryPrefix,
		BuilderImage:    images.BuilderImage,
		FetchImage:      images.FetchImage,
		RunImage:        builds.RunImage,
		AllowedBuilders: builds.AllowedBuilders,
		Deadline:        builds.Deadline,
		Env:             builds.Env,
		Proxies:         builds.Proxies,
		Credentials:     builds.CredentialsSecret,
		CA:              builds.CAConfigMap,
		IndexCA:         builds.IndexCAConfigMap,
		Resources: incluster.Resources{
			CPURequest: builds.CPURequest, MemoryRequest: builds.MemoryRequest, MemoryLimit: builds.MemoryLimit, Disk: builds.Disk,
		},
	}
}

// unready waits for a repair of the settings; anything else is an error.
func (r *Reconciler) unready(build *v1alpha1.Build, err error) error {
	var platform errPlatform
	if errors.As(err, &platform) {
		return r.wait(build, platform.reason, platform.Error(), platformDelay)
	}
	return err
}
