package gitsource

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy is what a platform says about git servers. The zero value allows all
// hosts with public addresses.
type Policy struct {
	// Hosts, when there are any, are the only ones that sources come from:
	// names, "*.example.com" for all names below one, or addresses.
	Hosts []string
	// Ranges are addresses that are not public and allowed all the same, such
	// as that of a company's own git server.
	Ranges []netip.Prefix
}

// ParsePolicy reads the settings git-allowed-hosts and git-allowed-cidrs: lists
// separated by commas, spaces or lines.
func ParsePolicy(hosts, ranges string) (Policy, error) {
	var p Policy
	for _, host := range fields(hosts) {
		host = strings.ToLower(host)
		if _, err := cleanHost(strings.TrimPrefix(host, "*.")); err != nil {
			return Policy{}, fmt.Errorf("git-allowed-hosts: %w", err)
		}
		p.Hosts = append(p.Hosts, host)
	}
	for _, text := range fields(ranges) {
		r, err := netip.ParsePrefix(text)
		if err != nil || r.Masked() != r {
			return Policy{}, fmt.Errorf("git-allowed-cidrs: %q is no address range such as 10.1.2.3/32", text)
		}
		if i := slices.IndexFunc(forbidden, r.Overlaps); i >= 0 {
			return Policy{}, fmt.Errorf("git-allowed-cidrs: %s holds addresses of %s, which are never allowed: metadata services and the like are there", r, forbidden[i])
		}
		p.Ranges = append(p.Ranges, r)
	}
	return p, nil
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })
}

// AnyPlatform is the widest policy that a platform can have. Who validates
// without knowing the platform finds with it what is wrong on every one.
func AnyPlatform() Policy {
	return Policy{Ranges: prefixes("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7")}
}

// Check refuses an address by its host, as far as that can be said without
// resolving it.
func (p Policy) Check(a Address) error {
	if address, err := netip.ParseAddr(a.Host); err == nil {
		if err := p.CheckAddress(address); err != nil {
			return err
		}
	}
	return p.CheckHost(a.Host)
}

// local are names that mean the machine itself, or its metadata.
var local = []string{"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6", "localhost4", "metadata", "metadata.google.internal", "instance-data"}

// CheckHost refuses a host by its name.
func (p Policy) CheckHost(host string) error {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if slices.Contains(local, host) || strings.HasSuffix(host, ".localhost") {
		return fmt.Errorf("the host %q means the machine itself; git sources come from another server", host)
	}
	if len(p.Hosts) == 0 || slices.ContainsFunc(p.Hosts, func(pattern string) bool { return matchHost(pattern, host) }) {
		return nil
	}
	return fmt.Errorf("the host %q is none that this platform takes sources from (%s); ask its administrator to add it to git-allowed-hosts", host, strings.Join(p.Hosts, ", "))
}

func matchHost(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, below)
	}
	return pattern == host
}

// CheckAddress refuses a network address. It is asked about every address that
// is really dialled, so that no name can lead elsewhere.
func (p Policy) CheckAddress(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	if in(forbidden, address) {
		return fmt.Errorf("the address %s is refused: metadata services and the like are there", address)
	}
	if Public(address) || in(p.Ranges, address) {
		return nil
	}
	return fmt.Errorf("the address %s is not public; for a git server of your own, ask the platform's administrator to add it to git-allowed-cidrs", address)
}

// forbidden is never allowed: this host, link-local (where clouds have their
// metadata), multicast, reserved, broadcast, and Azure's platform address.
var forbidden = prefixes("0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128")

// private are the special-purpose ranges of IPv4 (RFC 6890 and the IANA
// registry) besides the forbidden ones.
var private = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")

// Of IPv6 only global unicast is public, without what is for protocols,
// documentation, or translates to IPv4 (Teredo, 6to4).
var (
	global6  = prefixes("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

// Public reports whether an address belongs to the internet.
func Public(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if !address.IsValid() || in(forbidden, address) {
		return false
	}
	if address.Is4() {
		return !in(private, address)
	}
	return in(global6, address) && !in(special6, address)
}

func in(ranges []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(address) })
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}
