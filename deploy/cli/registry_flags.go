package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// registryFlags describe a cluster that does not describe itself.
type registryFlags struct {
	registry, login, ca, domain, urlPort string
}

func (r *registryFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&r.registry, "registry", "", "registry for images and sources, as host[:port][/prefix]")
	flags.StringVar(&r.login, "registry-login", "", "docker config.json with the registry's login")
	flags.StringVar(&r.ca, "registry-ca", "", "PEM file with the registry's certificate authorities")
	flags.StringVar(&r.domain, "domain", "", "domain of the functions' URLs, as in Knative's config-domain")
	flags.StringVar(&r.urlPort, "url-port", "", "port of the functions' URLs when it is not 80")
}

func (r *registryFlags) set() bool {
	return r.registry != "" || r.login != "" || r.ca != "" || r.domain != "" || r.urlPort != ""
}

// over returns the installed settings, login and CA included, with the flags
// in their place.
func (r *registryFlags) over(installed platform) (platform, error) {
	p := installed
	if r.registry != "" {
		p.Registry, p.Prefix, _ = strings.Cut(r.registry, "/")
	}
	if r.domain != "" {
		p.Domain = r.domain
	}
	if r.urlPort != "" {
		p.URLPort = usualPort(r.urlPort)
	}
	if p.Registry == "" || p.Domain == "" {
		return p, cmdline.Usagef("this cluster does not say where images go and what its domain is: give --registry and --domain")
	}
	if r.login != "" {
		raw, err := os.ReadFile(r.login)
		if err != nil {
			return p, cmdline.Usage(fmt.Errorf("read --registry-login: %w", err))
		}
		p.DockerConfig = raw
		if _, _, err := p.login(); err != nil {
			return p, cmdline.Usage(fmt.Errorf("--registry-login %s: %w", r.login, err))
		}
	}
	if r.ca != "" {
		raw, err := os.ReadFile(r.ca)
		if err != nil {
			return p, cmdline.Usage(fmt.Errorf("read --registry-ca: %w", err))
		}
		p.CA = string(raw)
	}
	return p, nil
}
