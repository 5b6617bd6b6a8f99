// Package dns runs CoreDNS in this process: it answers for the cluster's
// services and for the domain of function URLs, and forwards the rest to the
// name servers of the machine, also to those that listen only on the
// machine's loopback address.
package dns

import (
	"context"
	"fmt"
	"strings"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/core/dnsserver" // the server type "dns"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"

	"k8s.io/klog/v2"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Options configures the server.
type Options struct {
	Instance   instance.Instance
	Kubeconfig string
	// Upstreams are host:port of name servers that are reachable from the
	// cluster's network namespace; empty means that only cluster names resolve.
	Upstreams []string
}

// Run serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	caddy.Quiet = true
	server, err := caddy.Start(caddy.CaddyfileInput{
		Filepath: "Corefile", Contents: []byte(corefile(o)), ServerTypeName: "dns",
	})
	if err != nil {
		return fmt.Errorf("start cluster DNS on %s:%d: %w", o.Instance.BridgeIP(), instance.DNSPort, err)
	}
	// Its kubernetes plugin has put itself in the place of klog for the whole process.
	klog.ClearLogger()
	<-ctx.Done()
	return server.Stop()
}

func corefile(o Options) string {
	i := o.Instance
	var b strings.Builder
	fmt.Fprintf(&b, ".:%d {\n", instance.DNSPort)
	fmt.Fprintf(&b, "  bind %s\n", i.BridgeIP())
	fmt.Fprintf(&b, "  errors\n")
	fmt.Fprintf(&b, "  cache 5\n")
	// Pods reach function URLs at the gateway on the bridge.
	fmt.Fprintf(&b, "  template IN A %s {\n    answer \"{{ .Name }} 5 IN A %s\"\n  }\n", instance.Domain, i.BridgeIP())
	fmt.Fprintf(&b, "  template IN AAAA %s {\n    rcode NOERROR\n  }\n", instance.Domain)
	fmt.Fprintf(&b, "  kubernetes %s in-addr.arpa ip6.arpa {\n    kubeconfig %s\n    pods insecure\n    ttl 5\n    fallthrough in-addr.arpa ip6.arpa\n  }\n", instance.ClusterDomain, o.Kubeconfig)
	if len(o.Upstreams) > 0 {
		fmt.Fprintf(&b, "  forward . %s {\n    max_concurrent 1000\n  }\n", strings.Join(o.Upstreams, " "))
	}
	b.WriteString("}\n")
	return b.String()
}
