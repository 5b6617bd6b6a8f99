package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// ownSettings are the keys of the platform's settings that have flags, or an
// origin, of their own.
var ownSettings = []string{
	"registry", "registry-prefix", "domain", "url-port", "builder-image", "fetch-image", "create-default-broker",
	v1alpha1.SettingGitHosts, v1alpha1.SettingGitRanges, v1alpha1.SettingGitKnownHosts,
}

// otherSettings are those that an installation has beside them: whatever was
// set by --set, or by hand, stays.
func otherSettings(data map[string]string) map[string]string {
	others := maps.Clone(data)
	maps.DeleteFunc(others, func(key, _ string) bool { return slices.Contains(ownSettings, key) })
	return others
}

// override puts what --set gives in the place of what is installed. An empty
// value removes a setting.
func override(installed, given map[string]string) (map[string]string, error) {
	settings := maps.Clone(installed)
	if settings == nil {
		settings = map[string]string{}
	}
	for key, value := range given {
		switch {
		case slices.Contains(ownSettings, key):
			return nil, cmdline.Usagef("--set %s: it has a flag of its own, or comes from the cluster", key)
		case !v1alpha1.IsBuildSetting(key):
			return nil, cmdline.Usagef("--set %s: there is no such setting; there are %s", key, strings.Join(v1alpha1.BuildSettingKeys(), ", "))
		case value == "":
			delete(settings, key)
			continue
		}
		settings[key] = value
	}
	if _, err := v1alpha1.ParseBuildSettings(settings); err != nil {
		return nil, cmdline.Advise(cmdline.Usage(fmt.Errorf("the settings would be wrong: %w", err)), "correct them with --set key=value, or remove one with --set key=")
	}
	return settings, nil
}

// pairs reads key=value; values may hold commas, as lists do.
func pairs(given []string) map[string]string {
	all := map[string]string{}
	for _, text := range given {
		key, value, _ := strings.Cut(text, "=")
		all[key] = value
	}
	return all
}
