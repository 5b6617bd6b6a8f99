package cli

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// gitSettings say which git servers sources come from.
type gitSettings struct {
	Hosts, Ranges, KnownHosts string
}

func readGitSettings(data map[string]string) gitSettings {
	return gitSettings{
		Hosts: data[v1alpha1.SettingGitHosts], Ranges: data[v1alpha1.SettingGitRanges], KnownHosts: data[v1alpha1.SettingGitKnownHosts],
	}
}

// write adds what is set to the data of the platform's settings.
func (g gitSettings) write(data map[string]string) {
	for key, value := range map[string]string{
		v1alpha1.SettingGitHosts: g.Hosts, v1alpha1.SettingGitRanges: g.Ranges, v1alpha1.SettingGitKnownHosts: g.KnownHosts,
	} {
		if value != "" {
			data[key] = value
		}
	}
}

// policy opens the ranges to builds of git sources. The settings were checked.
func (g gitSettings) policy() *networkingv1.NetworkPolicy {
	policy, _ := gitsource.ParsePolicy(g.Hosts, g.Ranges)
	return incluster.MakeGitPolicy(buildsNamespace, policy.Ranges)
}

// gitFlags change them; what is not given stays as it is installed.
type gitFlags struct {
	settings       gitSettings
	knownHostsFile string
	flags          *pflag.FlagSet
}

const (
	flagGitHosts      = "git-allowed-hosts"
	flagGitRanges     = "git-allowed-cidrs"
	flagGitKnownHosts = "git-known-hosts"
)

func (g *gitFlags) add(flags *pflag.FlagSet) {
	g.flags = flags
	flags.StringVar(&g.settings.Hosts, flagGitHosts, "", "the only hosts that git sources come from, as github.com,*.example.com; any when empty")
	flags.StringVar(&g.settings.Ranges, flagGitRanges, "", "address ranges of git servers without a public address, as 10.1.2.3/32; builds of git sources reach them")
	flags.StringVar(&g.knownHostsFile, flagGitKnownHosts, "", "known_hosts file with the keys of SSH servers, for git Secrets that bring none")
}

// over returns the installed settings with the flags in their place.
func (g *gitFlags) over(installed gitSettings) (gitSettings, error) {
	settings := installed
	if g.flags.Changed(flagGitHosts) {
		settings.Hosts = g.settings.Hosts
	}
	if g.flags.Changed(flagGitRanges) {
		settings.Ranges = g.settings.Ranges
	}
	if g.flags.Changed(flagGitKnownHosts) {
		settings.KnownHosts = ""
		if g.knownHostsFile != "" {
			raw, err := os.ReadFile(g.knownHostsFile)
			if err != nil {
				return settings, cmdline.Usage(fmt.Errorf("read --%s: %w", flagGitKnownHosts, err))
			}
			settings.KnownHosts = string(raw)
		}
	}
	if _, err := gitsource.ParsePolicy(settings.Hosts, settings.Ranges); err != nil {
		return settings, cmdline.Usage(err)
	}
	return settings, nil
}
