package policy

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
)

func TestOptionsAreChecked(t *testing.T) {
	cases := map[string]struct {
		change func(*Options)
		want   string
	}{
		"complete":         {func(*Options) {}, ""},
		"no client":        {func(o *Options) { o.Kube = nil }, "Options.Kube"},
		"no table":         {func(o *Options) { o.Table = "" }, "Options.Table"},
		"no range":         {func(o *Options) { o.PodRange = netip.Prefix{} }, "not IPv4"},
		"an IPv6 range":    {func(o *Options) { o.PodRange = netip.MustParsePrefix("fd00::/64") }, "not IPv4"},
		"no node":          {func(o *Options) { o.NodeAddresses = nil }, "probes"},
		"an IPv6 node":     {func(o *Options) { o.NodeAddresses = []netip.Addr{netip.IPv6Loopback()} }, "::1"},
		"an unusable name": {func(o *Options) { o.Table = strings.Repeat("x", 300) }, "xxx"},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			o := Options{
				Kube: fake.NewClientset(), Table: "knit-policy-test", NodeAddresses: []netip.Addr{nodeAddr},
				PodRange: podRange, Log: slog.New(slog.DiscardHandler),
			}
			c.change(&o)
			_, err := New(o)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
