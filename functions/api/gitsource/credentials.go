package gitsource

import (
	"fmt"
	"slices"
	"strings"
)

// HostsAnnotation is on a Secret with a git login and names the hosts that it
// is for, separated by commas: "github.com, git.example.com:8443". Without it,
// whoever may create a Function could have any Secret of the namespace sent to
// a server of his own.
const HostsAnnotation = "knit.dev/git-hosts"

// CredentialHosts are the hosts that a login may be sent to. A host without a
// port means the usual port of the scheme.
type CredentialHosts []string

// ParseCredentialHosts reads the annotation.
func ParseCredentialHosts(list string) (CredentialHosts, error) {
	var hosts CredentialHosts
	for _, host := range fields(list) {
		if _, err := Parse("https://" + host + "/x"); err != nil || strings.Contains(host, "/") {
			return nil, fmt.Errorf("the annotation %s has %q, which is neither host nor host:port", HostsAnnotation, host)
		}
		hosts = append(hosts, strings.TrimSuffix(strings.ToLower(host), "."))
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("the annotation %s is missing or empty; name the hosts that the login is for, for example github.com", HostsAnnotation)
	}
	return hosts, nil
}

// Allow reports whether the login may be sent to a server.
func (c CredentialHosts) Allow(a Address) bool {
	return slices.ContainsFunc(c, func(host string) bool {
		named, err := Parse(a.Scheme + "://" + host + "/x")
		return err == nil && named.Host == a.Host && named.Port == a.Port
	})
}
