package v1alpha1

import (
	"fmt"
	"net/url"
	"strings"
)

// Namespaces and names that `knit install` makes.
const (
	// NamespaceSystem is where the control plane runs.
	NamespaceSystem = "knit-system"
	// NamespaceBuilds is where build pods run; no tenant can reach it.
	NamespaceBuilds = "knit-builds"
	// PlatformConfigMap, in NamespaceSystem, holds the settings of the platform.
	PlatformConfigMap = "knit-platform"
)

// Platform is what `knit install` settled for the whole cluster.
//
// +kubebuilder:object:generate=false
type Platform struct {
	Registry            string // host:port of the registry
	RegistryPrefix      string // path before <namespace>/<function>; may be empty
	Domain              string // domain of external URLs
	URLPort             string // port of external URLs; empty for the usual one
	BuilderImage        string // runs the buildpacks; by digest
	FetchImage          string // fetches a source archive; by digest
	CreateDefaultBroker bool   // a function may bring the default Broker of its namespace into being
}

// ParsePlatform reads the data of the ConfigMap.
func ParsePlatform(data map[string]string) (Platform, error) {
	p := Platform{
		Registry: data["registry"], RegistryPrefix: strings.Trim(data["registry-prefix"], "/"),
		Domain: data["domain"], URLPort: data["url-port"],
		BuilderImage: data["builder-image"], FetchImage: data["fetch-image"],
		CreateDefaultBroker: data["create-default-broker"] == "true",
	}
	for _, required := range []string{"registry", "builder-image", "fetch-image"} {
		if data[required] == "" {
			return Platform{}, fmt.Errorf("ConfigMap %s/%s has no %q: run `knit install`", NamespaceSystem, PlatformConfigMap, required)
		}
	}
	return p, nil
}

// Repository is where the image of a function goes, without a tag.
func (p Platform) Repository(namespace, function string) string {
	parts := []string{p.Registry}
	if p.RegistryPrefix != "" {
		parts = append(parts, p.RegistryPrefix)
	}
	return strings.Join(append(parts, namespace, function), "/")
}

// LogReference is where the log of a Build is kept in the registry, outside of
// any repository that a function's image goes to. Nobody chooses a UID, so
// nobody's Build can name another's log.
func (p Platform) LogReference(b *Build) string {
	return p.Repository(b.Namespace, b.Spec.Function) + "/logs:build-" + string(b.UID)
}

// LogMediaType is a layer of a kept log: the text of one phase, which the
// layer's annotation LogPhaseAnnotation names.
const (
	LogMediaType       = "application/vnd.knit.build.log.v1.text"
	LogPhaseAnnotation = "dev.knit.build.phase"
)

// ExternalURL adds the port of the gateway to a URL of Knative. A URL inside of
// the cluster, outside of the domain, stays as it is.
func (p Platform) ExternalURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || p.URLPort == "" || u.Port() != "" || !strings.HasSuffix(u.Hostname(), "."+p.Domain) {
		return raw
	}
	u.Host += ":" + p.URLPort
	return u.String()
}
