// Package incluster says what a build looks like in a cluster: the pod that
// runs the phases of the buildpacks lifecycle without any privilege, and the
// NetworkPolicy around such pods. It is pure: the Build controller calls it
// and applies what it returns; this package never talks to a cluster.
//
// The phases of a build share one pod, not their rights. Only fetch, analyze,
// restore and export hold the registry login; detect and build, which run
// what tenants wrote, have neither that nor a service account token. What the
// trusted phases decide before the build (which run image, which previous
// image) lies in a volume that detect does not see and build cannot change:
// otherwise its code could make export, which holds the login, publish the
// image of another tenant. Detect works on a copy, in which an image extension
// may switch the run image; package phase carries that over before export when
// the builder offers the image. Phases of the same trust share a container,
// because the kubelet takes its time from one to the next; their order is
// therefore fetch, analyze, restore, detect, build, export.
package incluster

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/knit-dev/knit/functions/api/gitsource"
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
	// Git says which git servers sources come from; GitKnownHosts holds the keys
	// of SSH servers for Secrets that bring none.
	Git           gitsource.Policy
	GitKnownHosts string
	// RunImage replaces the one that the builder image names, when not empty.
	RunImage string
	// Builder runs the buildpacks in place of BuilderImage, when not nil.
	Builder *Builder
	// AllowedBuilders are patterns of builders that a Build may name.
	AllowedBuilders []string
	// Resources bound every phase's container.
	Resources Resources
	// Deadline of a Build that names none; v1alpha1.DefaultBuildDeadline when zero.
	Deadline time.Duration
	// Env is handed to the buildpacks; the Build's own variables win.
	Env []v1alpha1.BuildEnv
	// Proxies are variables for the phases that talk to the registry.
	Proxies []v1alpha1.BuildEnv
	// Credentials and CA are a Secret and a ConfigMap in the namespace of
	// builds; CredentialsSecret and CAConfigMap when empty.
	Credentials, CA string
	// IndexCA is a ConfigMap with the authorities of package indexes, for the
	// phases that download packages; none when empty.
	IndexCA string
}

// Builder is what must be known of a CNB builder image to run its buildpacks.
type Builder struct {
	Image           string // by digest
	UserID, GroupID int64  // that its files belong to
	PlatformAPI     string // the newest that it and Knit speak
	RunImage        string // that it builds for
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
	return p.repository(b.Namespace, sourcesName) + "@" + b.Spec.Source.Archive.Digest
}

// Cache is the image that holds the function's build cache.
func (p Platform) Cache(b *v1alpha1.Build) string {
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

// deadline is how long the Build may take.
func (p Platform) deadline(b *v1alpha1.Build) time.Duration {
	if b.Spec.DeadlineSeconds == nil && p.Deadline > 0 {
		return p.Deadline
	}
	return b.Spec.Deadline()
}

// maxEnvBytes is how much of names and values travels in a pod's annotations,
// which Kubernetes bounds at 256 KiB in all.
const maxEnvBytes = 192 << 10

// sourcesName is the repository of a namespace with its source archives.
const sourcesName = "sources"

// reservedNamespace is the part of the registry with the platform's own images.
const reservedNamespace = "knit"

// Foreign reports whether a Build names another builder than the platform's.
// An earlier one of the platform's own counts as the platform's.
func (p Platform) Foreign(b *v1alpha1.Build) bool {
	return b.Spec.BuilderImage != "" && !v1alpha1.SameRepository(b.Spec.BuilderImage, p.BuilderImage)
}

// Check refuses a Build that can never work. The errors are for its author.
func Check(b *v1alpha1.Build, p Platform) error {
	if b.Namespace == reservedNamespace {
		return fmt.Errorf("the namespace %q is where the registry has the platform's own images; build in another one", b.Namespace)
	}
	if b.Spec.Function == sourcesName {
		return fmt.Errorf("the repository %s holds the source archives of the namespace; give the function another name", p.Repository(b))
	}
	if p.Foreign(b) && !v1alpha1.Allowed(b.Spec.BuilderImage, p.AllowedBuilders) {
		return fmt.Errorf("the builder %q is not allowed; leave it empty to use %s, or ask for it in the platform's setting allowed-builders", b.Spec.BuilderImage, p.BuilderImage)
	}
	if err := checkSource(b, p); err != nil {
		return err
	}
	size := 0
	for _, env := range p.variables(b) {
		size += len(env.Name) + len(env.Value)
	}
	if size > maxEnvBytes {
		return fmt.Errorf("env has %d bytes, more than the %d that a build can be given; move large values into files of the source", size, maxEnvBytes)
	}
	return nil
}

// checkSource refuses a source that cannot be fetched. A rebase fetches none.
func checkSource(b *v1alpha1.Build, p Platform) error {
	if b.Spec.Rebase != nil {
		return nil
	}
	if _, err := b.Spec.Source.FunctionPath(); err != nil {
		return err
	}
	if b.Spec.Source.Git != nil {
		return checkGit(b.Spec.Source, p)
	}
	if !strings.HasPrefix(b.Spec.Source.Archive.Digest, "sha256:") {
		return errors.New("source.archive.digest must be the sha256 digest of a pushed archive; run knit deploy")
	}
	return nil
}
