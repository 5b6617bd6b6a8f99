package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// BuildSettings are the platform's settings about builds, with defaults in the
// place of what is not said. builder/README.md has the table of all keys.
//
// +kubebuilder:object:generate=false
type BuildSettings struct {
	RunImage            string   // in place of the one that the builder names; may be empty
	RunImages           []string // newest bases, by digest
	AllowedBuilders     []string // patterns of builders that a Function may name
	AllowedRunImages    []string // patterns of run images that a rebase may name
	RebuildOnNewBuilder bool

	Keep             int // ended Builds of a function
	PerNamespace     int // builds at once
	Total            int // builds at once, in all
	LogsPerNamespace int // kept logs
	Deadline         time.Duration

	CPURequest, MemoryRequest, MemoryLimit, Disk, CacheLimit, LogLimit resource.Quantity

	// Env is handed to every build; a Function's own variable of the same name wins.
	Env []BuildEnv
	// Proxies are those of Env that the registry may be behind, too.
	Proxies []BuildEnv

	CredentialsSecret string         // in the namespace of builds, a docker config.json
	CAConfigMap       string         // in the namespace of builds; authorities of the registry
	IndexCAConfigMap  string         // in the namespace of builds; authorities of package indexes; may be empty
	AllowedCIDRs      []netip.Prefix // private ranges that builds may reach
}

// variables are the settings that become variables of a build.
var variables = []struct {
	key   string
	proxy bool
	url   bool
	names []string
}{
	{"http-proxy", true, true, []string{"HTTP_PROXY", "http_proxy"}},
	{"https-proxy", true, true, []string{"HTTPS_PROXY", "https_proxy"}},
	{"no-proxy", true, false, []string{"NO_PROXY", "no_proxy"}},
	{"goproxy", false, false, []string{"GOPROXY"}},
	{"goprivate", false, false, []string{"GOPRIVATE"}},
	{"gonosumdb", false, false, []string{"GONOSUMDB"}},
	{"gosumdb", false, false, []string{"GOSUMDB"}},
	{"npm-registry", false, true, []string{"NPM_CONFIG_REGISTRY"}},
	{"pip-index", false, true, []string{"PIP_INDEX_URL"}},
}

// buildSettingKeys are the other keys that ParseBuildSettings reads.
var buildSettingKeys = []string{
	"run-image", "run-images", "allowed-builders", "allowed-run-images", "rebuild-on-new-builder", "keep-builds",
	"builds-per-namespace", "builds-total", "build-logs-per-namespace", "build-deadline", "build-cpu", "build-memory-request",
	"build-memory", "build-disk", "build-cache-limit", "build-log-limit", "build-credentials", "build-registry-ca",
	"build-index-ca", "build-allowed-cidrs",
}

// BuildSettingKeys are all keys that ParseBuildSettings reads.
func BuildSettingKeys() []string {
	keys := slices.Clone(buildSettingKeys)
	for _, v := range variables {
		keys = append(keys, v.key)
	}
	return keys
}

// IsBuildSetting reports whether ParseBuildSettings reads a key.
func IsBuildSetting(key string) bool { return slices.Contains(BuildSettingKeys(), key) }

// objectName is a DNS label, as names of Secrets and ConfigMaps are.
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// ParseBuildSettings reads the data of the platform's ConfigMap. It reports
// every wrong key. Addresses can hold a password, so their values are in no error.
func ParseBuildSettings(data map[string]string) (BuildSettings, error) {
	r := reader{data: data}
	s := BuildSettings{
		RunImage: data["run-image"], RunImages: r.list("run-images"),
		AllowedBuilders: r.list("allowed-builders"), AllowedRunImages: r.list("allowed-run-images"),
		RebuildOnNewBuilder: r.boolean("rebuild-on-new-builder", true),
		Keep:                r.number("keep-builds", 5, 1, 100),
		PerNamespace:        r.number("builds-per-namespace", 2, 1, 1000),
		Total:               r.number("builds-total", 8, 1, 10000),
		LogsPerNamespace:    r.number("build-logs-per-namespace", 200, 0, 10000),
		Deadline:            r.duration("build-deadline", DefaultBuildDeadline, 10*time.Second, 2*time.Hour),
		CPURequest:          r.quantity("build-cpu", "100m"),
		MemoryRequest:       r.quantity("build-memory-request", "256Mi"),
		MemoryLimit:         r.quantity("build-memory", "2Gi"),
		Disk:                r.quantity("build-disk", "4Gi"),
		CacheLimit:          r.quantity("build-cache-limit", "1Gi"),
		LogLimit:            r.quantity("build-log-limit", "1Mi"),
		CredentialsSecret:   r.name("build-credentials", "registry-credentials"),
		CAConfigMap:         r.name("build-registry-ca", "registry-ca"),
		IndexCAConfigMap:    r.name("build-index-ca", ""),
		AllowedCIDRs:        r.prefixes("build-allowed-cidrs"),
	}
	r.environment(&s)
	for _, base := range s.RunImages {
		if !strings.Contains(base, "@sha256:") {
			r.wrong("run-images", "%q is not by digest (host/repository@sha256:…)", base)
		}
	}
	if s.MemoryRequest.Cmp(s.MemoryLimit) > 0 {
		r.wrong("build-memory-request", "it is more than build-memory, %s", s.MemoryLimit.String())
	}
	if max := resource.MustParse("16Mi"); s.LogLimit.Cmp(max) > 0 {
		r.wrong("build-log-limit", "it is more than %s", max.String())
	}
	if len(r.errs) > 0 {
		return BuildSettings{}, fmt.Errorf("ConfigMap %s/%s: %w", NamespaceSystem, PlatformConfigMap, errors.Join(r.errs...))
	}
	return s, nil
}

// reader collects what is wrong with the settings.
type reader struct {
	data map[string]string
	errs []error
}

func (r *reader) wrong(key, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

func (r *reader) list(key string) []string {
	return strings.FieldsFunc(r.data[key], func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })
}

func (r *reader) boolean(key string, otherwise bool) bool {
	if r.data[key] == "" {
		return otherwise
	}
	value, err := strconv.ParseBool(r.data[key])
	if err != nil {
		r.wrong(key, "%q is neither true nor false", r.data[key])
	}
	return value
}

func (r *reader) number(key string, otherwise, low, high int) int {
	if r.data[key] == "" {
		return otherwise
	}
	value, err := strconv.Atoi(r.data[key])
	if err != nil || value < low || value > high {
		r.wrong(key, "%q is no number from %d to %d", r.data[key], low, high)
	}
	return value
}

func (r *reader) duration(key string, otherwise, low, high time.Duration) time.Duration {
	if r.data[key] == "" {
		return otherwise
	}
	value, err := time.ParseDuration(r.data[key])
	if err != nil || value < low || value > high {
		r.wrong(key, "%q is no time from %s to %s, such as 15m", r.data[key], low, high)
	}
	return value
}

func (r *reader) quantity(key, otherwise string) resource.Quantity {
	text := r.data[key]
	if text == "" {
		text = otherwise
	}
	value, err := resource.ParseQuantity(text)
	if err != nil || value.Sign() <= 0 {
		r.wrong(key, "%q is no positive amount, such as %s", text, otherwise)
	}
	return value
}

func (r *reader) name(key, otherwise string) string {
	text := r.data[key]
	if text == "" {
		return otherwise
	}
	if !objectName.MatchString(text) {
		r.wrong(key, "%q is no name of an object", text)
	}
	return text
}

// prefixes refuses what never is an index, but the way to a machine's secrets.
func (r *reader) prefixes(key string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range r.list(key) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			r.wrong(key, "%q is no range, such as 10.1.2.0/24", text)
			continue
		}
		prefix = prefix.Masked()
		for _, closed := range neverOpen {
			if prefix.Overlaps(closed) {
				r.wrong(key, "%s reaches into %s, which stays closed to builds", prefix, closed)
			}
		}
		all = append(all, prefix)
	}
	return all
}

// neverOpen are loopback, link-local (metadata of machines) and multicast.
var neverOpen = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("::ffff:0:0/96"),
}

// environment turns settings into variables. Their values are in no error.
func (r *reader) environment(s *BuildSettings) {
	for _, v := range variables {
		value := strings.TrimSpace(r.data[v.key])
		if value == "" {
			continue
		}
		if len(value) > 4096 || strings.ContainsAny(value, "\r\n\x00") {
			r.wrong(v.key, "it is longer than 4096 bytes or has several lines")
			continue
		}
		if v.url && !httpURL(value) {
			r.wrong(v.key, "it is no http or https URL with a host")
			continue
		}
		for _, name := range v.names {
			s.Env = append(s.Env, BuildEnv{Name: name, Value: value})
			if v.proxy {
				s.Proxies = append(s.Proxies, BuildEnv{Name: name, Value: value})
			}
		}
	}
}

func httpURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// Allowed reports whether an image is one of the patterns: a whole reference, or
// the beginning of one before a "*" at the end.
func Allowed(image string, patterns []string) bool {
	for _, pattern := range patterns {
		begin, open := strings.CutSuffix(pattern, "*")
		if image == pattern || open && begin != "" && strings.HasPrefix(image, begin) && path.Clean(image) == image {
			return true
		}
	}
	return false
}

// SameRepository reports whether two references name images of one repository.
func SameRepository(a, b string) bool { return a != "" && repositoryOf(a) == repositoryOf(b) }

// repositoryOf is a reference without its digest and its tag.
func repositoryOf(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	if i := strings.LastIndex(reference, ":"); i > strings.LastIndex(reference, "/") {
		return reference[:i]
	}
	return reference
}
