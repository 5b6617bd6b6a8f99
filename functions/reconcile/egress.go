package reconcile

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ForbiddenAddress says that a tenant named an address which only the control
// plane itself could reach.
type ForbiddenAddress struct{ Address netip.Addr }

func (f ForbiddenAddress) Error() string {
	return fmt.Sprintf("it is not allowed to send to %s: it is an address of the machine itself, link-local or multicast", f.Address)
}

// kept is how long a connection is kept, shorter than anybody waits between two
// attempts.
const kept = 500 * time.Millisecond

// Egress makes a client for requests whose address a tenant chose. It reaches
// the cluster and the world, but not loopback and link-local addresses, where
// clouds answer with credentials; follows no redirect, because a request goes
// where it was said to; and keeps connections for a moment only, for many
// requests at once: while a function is made, its name leads elsewhere, and a
// connection from then would lead the next attempt there, too.
//
// refuse is Forbidden but in tests on loopback.
func Egress(timeout time.Duration, refuse func(netip.Addr) bool) *http.Client {
	dialer := &net.Dialer{
		Timeout: 5 * time.Second,
		// Control sees the address after names were resolved, so that no name
		// can stand for a forbidden one.
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if refuse(to.Addr().Unmap()) {
				return ForbiddenAddress{to.Addr()}
			}
			return nil
		},
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			IdleConnTimeout:        kept,
			MaxIdleConns:           1024,
			MaxIdleConnsPerHost:    256,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Forbidden are the addresses that no tenant may name.
func Forbidden(a netip.Addr) bool {
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsMulticast() || a.IsUnspecified()
}
