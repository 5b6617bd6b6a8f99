package cli

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/spf13/pflag"

	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// registryFlags say which registry and how to reach it. Their defaults come
// from the environment.
type registryFlags struct {
	registry, login, ca string
}

func (r *registryFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&r.registry, "registry", os.Getenv("KNIT_REGISTRY"), "registry, as host[:port][/prefix] (or $KNIT_REGISTRY)")
	flags.StringVar(&r.login, "registry-login", os.Getenv("KNIT_REGISTRY_LOGIN"), "docker config.json with the registry's login (or $KNIT_REGISTRY_LOGIN)")
	flags.StringVar(&r.ca, "registry-ca", os.Getenv("KNIT_REGISTRY_CA"), "PEM file with the registry's certificate authorities (or $KNIT_REGISTRY_CA)")
}

// open reads the files that the flags name.
func (r *registryFlags) open() (images.Registry, error) {
	if r.registry == "" {
		return images.Registry{}, cmdline.Usagef("no registry: give --registry or set KNIT_REGISTRY; the embedded cluster's is 198.18.0.1:5000")
	}
	var registry images.Registry
	registry.Host, registry.Prefix, _ = strings.Cut(r.registry, "/")
	if r.login != "" {
		if err := r.readLogin(&registry); err != nil {
			return images.Registry{}, cmdline.Usage(fmt.Errorf("--registry-login %s: %w", r.login, err))
		}
	}
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return images.Registry{}, cmdline.Usage(fmt.Errorf("--registry-ca: %w", err))
		}
		registry.CA = x509.NewCertPool()
		if !registry.CA.AppendCertsFromPEM(pem) {
			return images.Registry{}, cmdline.Usagef("--registry-ca %s holds no PEM certificate", r.ca)
		}
	}
	return registry, nil
}

func (r *registryFlags) readLogin(registry *images.Registry) error {
	file, err := os.Open(r.login)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	logins, err := config.LoadFromReader(file)
	if err != nil {
		return err
	}
	login, ok := logins.AuthConfigs[registry.Host]
	if !ok {
		return fmt.Errorf("it has no login for %s", registry.Host)
	}
	registry.Username, registry.Password = login.Username, login.Password
	return nil
}
