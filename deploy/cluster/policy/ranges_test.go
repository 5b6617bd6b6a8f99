package policy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
)

func TestBlock(t *testing.T) {
	cases := map[string]struct {
		cidr   string
		except []string
		want   string
	}{
		"whole":                     {"10.0.0.0/24", nil, "10.0.0.0-10.0.0.255"},
		"host bits do not count":    {"10.0.0.77/24", nil, "10.0.0.0-10.0.0.255"},
		"one address":               {"10.0.0.7/32", nil, "10.0.0.7"},
		"everything":                {"0.0.0.0/0", nil, "0.0.0.0-255.255.255.255"},
		"a hole in the middle":      {"10.0.0.0/24", []string{"10.0.0.64/26"}, "10.0.0.0-10.0.0.63 10.0.0.128-10.0.0.255"},
		"a hole at the begin":       {"10.0.0.0/24", []string{"10.0.0.0/25"}, "10.0.0.128-10.0.0.255"},
		"a hole at the very end":    {"0.0.0.0/0", []string{"128.0.0.0/1"}, "0.0.0.0-127.255.255.255"},
		"a hole at the very begin":  {"0.0.0.0/0", []string{"0.0.0.0/1"}, "128.0.0.0-255.255.255.255"},
		"nothing is left":           {"10.0.0.0/24", []string{"10.0.0.0/16"}, ""},
		"holes that overlap":        {"10.0.0.0/24", []string{"10.0.0.0/26", "10.0.0.0/25"}, "10.0.0.128-10.0.0.255"},
		"a hole somewhere else":     {"10.0.0.0/24", []string{"10.1.0.0/24"}, "10.0.0.0-10.0.0.255"},
		"IPv6 has no address here":  {"fd00::/8", nil, ""},
		"an IPv6 hole is no hole":   {"10.0.0.0/31", []string{"fd00::/8"}, "10.0.0.0-10.0.0.1"},
		"what cannot be read is no": {"ten", nil, ""},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			got := rangeElements(block(&networkingv1.IPBlock{CIDR: c.cidr, Except: c.except}))
			if diff := cmp.Diff(c.want, join(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	r := func(first, last string) addrRange {
		return addrRange{netip.MustParseAddr(first), netip.MustParseAddr(last)}
	}
	cases := map[string]struct {
		in   []addrRange
		want string
	}{
		"none":       {nil, ""},
		"apart":      {[]addrRange{r("10.0.0.5", "10.0.0.6"), r("10.0.0.1", "10.0.0.3")}, "10.0.0.1-10.0.0.3 10.0.0.5-10.0.0.6"},
		"touching":   {[]addrRange{r("10.0.0.1", "10.0.0.3"), r("10.0.0.4", "10.0.0.6")}, "10.0.0.1-10.0.0.6"},
		"inside":     {[]addrRange{r("10.0.0.1", "10.0.0.9"), r("10.0.0.4", "10.0.0.6")}, "10.0.0.1-10.0.0.9"},
		"twice":      {[]addrRange{r("10.0.0.1", "10.0.0.1"), r("10.0.0.1", "10.0.0.1")}, "10.0.0.1"},
		"to the end": {[]addrRange{r("255.0.0.0", "255.255.255.255"), r("255.255.255.255", "255.255.255.255")}, "255.0.0.0-255.255.255.255"},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, join(rangeElements(merge(c.in)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func join(keys [][]string) string {
	out := ""
	for _, k := range keys {
		if out != "" {
			out += " "
		}
		out += k[0]
	}
	return out
}
