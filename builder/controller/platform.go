package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
)

// platformName is the ConfigMap that the installation writes.
const platformName = "knit-platform"

// platform reads the settings anew for every build, so that a new builder
// image holds from the next build on, without a restart.
func (r *Reconciler) platform(ctx context.Context) (incluster.Platform, error) {
	key := types.NamespacedName{Namespace: r.options.SystemNamespace, Name: platformName}
	var settings corev1.ConfigMap
	if err := r.live.Get(ctx, key, &settings); err != nil {
		return incluster.Platform{}, fmt.Errorf("read the platform settings in ConfigMap %s (run knit install): %w", key, err)
	}
	platform := incluster.Platform{
		Namespace:    r.options.BuildNamespace,
		Registry:     settings.Data["registry"],
		Prefix:       settings.Data["registry-prefix"],
		BuilderImage: settings.Data["builder-image"],
		FetchImage:   settings.Data["fetch-image"],
		RunImage:     settings.Data["run-image"],
		Resources:    *r.options.Resources,
	}
	if err := platform.Validate(); err != nil {
		return incluster.Platform{}, fmt.Errorf("ConfigMap %s: %w", key, err)
	}
	return platform, nil
}
