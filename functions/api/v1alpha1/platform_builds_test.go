package v1alpha1

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBuildSettingsHaveDefaults(t *testing.T) {
	s, err := ParseBuildSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.RebuildOnNewBuilder || s.Keep != 5 || s.PerNamespace != 2 || s.Total != 8 || s.Deadline != 15*time.Minute || s.MemoryLimit.String() != "2Gi" ||
		s.CredentialsSecret != "registry-credentials" || s.CAConfigMap != "registry-ca" || s.IndexCAConfigMap != "" || len(s.Env) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBuildSettingsAreRead(t *testing.T) {
	s, err := ParseBuildSettings(map[string]string{
		"allowed-builders": "paketobuildpacks/builder-jammy-base:*,\n gcr.io/buildpacks/builder", "rebuild-on-new-builder": "false",
		"https-proxy": "http://user:pass@proxy.corp:3128", "no-proxy": ".corp,10.0.0.0/8", "goproxy": "https://go.corp,direct", "gonosumdb": "corp/*",
		"npm-registry": "https://npm.corp/", "pip-index": "https://pip.corp/simple", "build-allowed-cidrs": "10.1.2.3/24 fd12::/64", "run-images": "r/run@sha256:aa",
	})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range s.Env {
		env[e.Name] = e.Value
	}
	want := map[string]string{
		"HTTPS_PROXY": "http://user:pass@proxy.corp:3128", "https_proxy": "http://user:pass@proxy.corp:3128", "NO_PROXY": ".corp,10.0.0.0/8", "no_proxy": ".corp,10.0.0.0/8",
		"GOPROXY": "https://go.corp,direct", "GONOSUMDB": "corp/*", "NPM_CONFIG_REGISTRY": "https://npm.corp/", "PIP_INDEX_URL": "https://pip.corp/simple",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
	if s.RebuildOnNewBuilder || len(s.AllowedBuilders) != 2 || len(s.Proxies) != 4 || len(s.AllowedCIDRs) != 2 || s.AllowedCIDRs[0].String() != "10.1.2.0/24" {
		t.Errorf("%+v", s)
	}
}

func TestWrongSettingsAreNamedWithoutSecrets(t *testing.T) {
	cases := map[string]struct{ key, value, want string }{
		"number":          {"keep-builds", "many", "no number from 1 to 100"},
		"too many":        {"builds-total", "1000000", "no number"},
		"boolean":         {"rebuild-on-new-builder", "maybe", "neither true nor false"},
		"time":            {"build-deadline", "1", "no time"},
		"long time":       {"build-deadline", "9h", "no time"},
		"amount":          {"build-memory", "much", "no positive amount"},
		"negative":        {"build-disk", "-1Gi", "no positive amount"},
		"name":            {"build-credentials", "Not A Name", "no name of an object"},
		"path as a name":  {"build-index-ca", "../x", "no name of an object"},
		"range":           {"build-allowed-cidrs", "10.0.0.1", "no range"},
		"metadata":        {"build-allowed-cidrs", "169.254.169.254/32", "stays closed"},
		"around metadata": {"build-allowed-cidrs", "0.0.0.0/0", "stays closed"},
		"loopback":        {"build-allowed-cidrs", "::1/128", "stays closed"},
		"proxy":           {"http-proxy", "s3cret@proxy", "no http or https URL"},
		"proxy in lines":  {"https-proxy", "http://s3cret@proxy\nX", "several lines"},
		"index":           {"npm-registry", "file:///s3cret", "no http or https URL"},
		"base by tag":     {"run-images", "r/run:latest", "not by digest"},
		"request":         {"build-memory-request", "3Gi", "more than build-memory"},
		"huge log":        {"build-log-limit", "1Gi", "more than 16Mi"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseBuildSettings(map[string]string{c.key: c.value})
			if err == nil || !strings.Contains(err.Error(), c.key) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q about %s", err, c.want, c.key)
			}
		})
	}
	_, err := ParseBuildSettings(map[string]string{"keep-builds": "x", "builds-total": "y"})
	if err == nil || !strings.Contains(err.Error(), "keep-builds") || !strings.Contains(err.Error(), "builds-total") {
		t.Errorf("not every wrong key is named: %v", err)
	}
}

func TestAllowed(t *testing.T) {
	patterns := []string{"paketobuildpacks/builder-jammy-base:*", "gcr.io/buildpacks/builder", "*"}
	for image, want := range map[string]bool{
		"paketobuildpacks/builder-jammy-base:latest": true, "paketobuildpacks/builder-jammy-full:latest": false, "gcr.io/buildpacks/builder": true,
		"gcr.io/buildpacks/builder:v1": false, "evil/x": false, "paketobuildpacks/builder-jammy-base:/../x": false,
	} {
		if got := Allowed(image, patterns); got != want {
			t.Errorf("%s: %v, want %v", image, got, want)
		}
	}
}

func TestSameRepository(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"r:5000/a@sha256:1", "r:5000/a:v1", true}, {"r:5000/a", "r:5000/a@sha256:2", true}, {"r:5000/a", "r:5000/ab", false}, {"r:5000/a", "r/a", false}, {"", "", false},
	} {
		if got := SameRepository(c.a, c.b); got != c.want {
			t.Errorf("%q %q: %v", c.a, c.b, got)
		}
	}
}

// The table in builder/README.md is what people read.
func TestEverySettingIsInTheTable(t *testing.T) {
	readme, err := os.ReadFile("../../../builder/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range BuildSettingKeys() {
		if !strings.Contains(string(readme), "| `"+key+"` |") {
			t.Errorf("builder/README.md has no line about %s", key)
		}
	}
}
