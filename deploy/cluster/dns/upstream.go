package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/knit-dev/knit/deploy/cluster/network"
)

// Upstreams returns the name servers of the machine that CoreDNS can use from
// inside the cluster's network namespace. A server on an address of the machine itself
// cannot be reached from there; for each such server a relay is started whose
// far side is a socket in the machine's namespace (hostNamespace, a path).
func Upstreams(ctx context.Context, resolvConf, hostNamespace string, log *slog.Logger) ([]string, error) {
	config, err := dns.ClientConfigFromFile(resolvConf)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read name servers of the machine from %s: %w", resolvConf, err)
	}
	own, err := hostAddresses(hostNamespace)
	if err != nil {
		return nil, err
	}
	var upstreams []string
	for n, server := range config.Servers {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			continue // such as an IPv6 address with a zone
		}
		target := net.JoinHostPort(server, config.Port)
		if !own[addr] && !addr.IsLoopback() {
			upstreams = append(upstreams, target)
			continue
		}
		relay := fmt.Sprintf("127.0.0.1:%d", 5301+n)
		if err := startRelay(ctx, relay, target, hostNamespace); err != nil {
			return nil, err
		}
		log.Info("relaying DNS to a name server of the machine itself", "server", target, "relay", relay)
		upstreams = append(upstreams, relay)
	}
	return upstreams, nil
}

func hostAddresses(namespace string) (map[netip.Addr]bool, error) {
	own := map[netip.Addr]bool{}
	err := network.Do(namespace, func() error {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					own[ip.Unmap()] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses of the machine: %w", err)
	}
	return own, nil
}

// exchangeTimeout bounds one question to a name server of the machine.
const exchangeTimeout = 5 * time.Second

func startRelay(ctx context.Context, listen, target, hostNamespace string) error {
	for _, proto := range []string{"udp", "tcp"} {
		ready, failed := make(chan struct{}), make(chan error, 1)
		server := &dns.Server{Addr: listen, Net: proto, NotifyStartedFunc: func() { close(ready) },
			Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
				answer, err := exchange(q, proto, target, hostNamespace)
				if err != nil {
					answer = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
				}
				_ = w.WriteMsg(answer) // the asker is gone when this fails
			})}
		go func() { failed <- server.ListenAndServe() }()
		select {
		case <-ready:
		case err := <-failed:
			return fmt.Errorf("start DNS relay on %s: %w", listen, err)
		}
		go func() {
			<-ctx.Done()
			_ = server.Shutdown()
		}()
	}
	return nil
}

func exchange(q *dns.Msg, proto, target, hostNamespace string) (answer *dns.Msg, err error) {
	client := &dns.Client{Net: proto, Timeout: exchangeTimeout}
	err = network.Do(hostNamespace, func() error {
		conn, err := client.Dial(target)
		if err != nil {
			return err
		}
		defer conn.Close()
		answer, _, err = client.ExchangeWithConn(q, conn)
		return err
	})
	return answer, err
}
