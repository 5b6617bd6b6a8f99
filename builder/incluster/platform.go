// Package incluster says what a build looks like in a cluster: the pod that
// runs the phases of the buildpacks lifecycle without any privilege, and the
// NetworkPolicy around such pods. It is pure: the Build controller calls it
// and applies what it returns; this package never talks to a cluster.
//
// The phases of a build share one pod, not their rights. Only fetch, analyze,
// restore and export hold the registry login; detect and build, which run
// what tenants wrote, have neither that nor a service account token. What the
// trusted phases decide before the build (which run image, which previous
// image) lies in a volume that the build can read but not change: otherwise
// its code could make export, which holds the login, publish the image of
// another tenant.
package incluster

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Names that the installation gives to objects in the namespace of builds.
const (
	DefaultNamespace  = "knit-builds"
	CredentialsSecret = "registry-credentials"
	CAConfigMap       = "registry-ca"
)

// Platform is what the cluster's installation decides about builds.
type Platform struct {
	// Namespace of the build pods; DefaultNamespace when empty.
	Namespace string
	// Registry is the host:port of the registry; Prefix is the first part of
	// all repositories and may be empty.
	Registry, Prefix string
	// BuilderImage and FetchImage are references by digest.
	BuilderImage, FetchImage string
	// RunImage replaces the one that the builder image names, when not empty.
	RunImage string
	// Resources bound every phase's container.
	Resources Resources
}

// Resources are the limits of one build.
type Resources struct {
	// CPURequest is reserved; a build may use more while the node is idle.
	CPURequest resource.Quantity
	// MemoryRequest is reserved, MemoryLimit is where the kernel kills.
	MemoryRequest, MemoryLimit resource.Quantity
	// Disk bounds everything a build writes.
	Disk resource.Quantity
}

// DefaultResources fit a Go build on a small machine.
func DefaultResources() Resources {
	return Resources{
		CPURequest:    resource.MustParse("100m"),
		MemoryRequest: resource.MustParse("256Mi"),
		MemoryLimit:   resource.MustParse("2Gi"),
		Disk:          resource.MustParse("4Gi"),
	}
}

// Validate says what is missing to build at all.
func (p Platform) Validate() error {
	for _, required := range []struct{ key, value string }{
		{"registry", p.Registry}, {"builder-image", p.BuilderImage}, {"fetch-image", p.FetchImage},
	} {
		if required.value == "" {
			return fmt.Errorf("the platform settings have no %q; run knit install again", required.key)
		}
	}
	return nil
}

// repository is a path below the registry and the prefix.
func (p Platform) repository(parts ...string) string {
	return path.Join(append([]string{p.Registry, p.Prefix}, parts...)...)
}

// Repository is where the images of the build's function go, without a tag.
func (p Platform) Repository(b *v1alpha1.Build) string {
	return p.repository(b.Namespace, b.Spec.Function)
}

// source is the blob of the archive in the repository that the function
// service keeps for the namespace.
func (p Platform) source(b *v1alpha1.Build) string {
	return p.repository(b.Namespace, "sources") + "@" + b.Spec.Source.Archive.Digest
}

func (p Platform) cache(b *v1alpha1.Build) string {
	return p.repository(b.Namespace, b.Spec.Function, "cache") + ":latest"
}

// tag of the image; every build has one of its own, so that builds at the
// same time never take each other's.
func tag(b *v1alpha1.Build) string {
	if b.Spec.Tag != "" {
		return b.Spec.Tag
	}
	return "build-" + string(b.UID)
}

// maxEnvBytes is how much of names and values travels in a pod's annotations,
// which Kubernetes bounds at 256 KiB in all.
const maxEnvBytes = 192 << 10

// Check refuses a Build that can never work. The errors are for its author.
func Check(b *v1alpha1.Build, p Platform) error {
	if image := b.Spec.BuilderImage; image != "" && image != p.BuilderImage {
		return fmt.Errorf("builderImage %q is not the platform's; leave it empty to use %s", image, p.BuilderImage)
	}
	if !strings.HasPrefix(b.Spec.Source.Archive.Digest, "sha256:") {
		return errors.New("source.archive.digest must be the sha256 digest of a pushed archive; run knit deploy")
	}
	size := 0
	for _, env := range b.Spec.Env {
		size += len(env.Name) + len(env.Value)
	}
	if size > maxEnvBytes {
		return fmt.Errorf("env has %d bytes, more than the %d that a build can be given; move large values into files of the source", size, maxEnvBytes)
	}
	return nil
}
