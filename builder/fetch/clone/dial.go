package clone

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
)

const (
	// dialTimeout is how long a connection may take to come about.
	dialTimeout = 15 * time.Second
	// idleTimeout is how long a server may send nothing while it is waited for.
	idleTimeout = time.Minute
)

// dialer makes all connections of a clone. It looks at the address that a name
// was resolved to, at the moment of connecting: neither a redirect nor a name
// that changes its meaning leads elsewhere. It bounds the bytes of all
// connections together.
type dialer struct {
	policy   gitsource.Policy
	resolver *net.Resolver // nil is the machine's
	limit    int64
	received atomic.Int64
}

func newDialer(policy gitsource.Policy, limit int64) *dialer {
	return &dialer{policy: policy, limit: limit}
}

// DialContext implements what net/http wants of a dialer.
func (d *dialer) DialContext(ctx context.Context, network, endpoint string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	if err := d.policy.CheckHost(host); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	plain := net.Dialer{Timeout: dialTimeout, Resolver: d.resolver, ControlContext: d.control}
	conn, err := plain.DialContext(ctx, network, endpoint)
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: conn, dialer: d}, nil
}

// control is called with every address before it is connected to.
func (d *dialer) control(_ context.Context, _, endpoint string, _ syscall.RawConn) error {
	address, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return fmt.Errorf("%w: %q is no network address", ErrRefused, endpoint)
	}
	if err := d.policy.CheckAddress(address.Addr()); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// meteredConn counts what comes in and ends a connection that stands still.
type meteredConn struct {
	net.Conn
	dialer *dialer
}

func (c *meteredConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if total := c.dialer.received.Add(int64(n)); total > c.dialer.limit {
		return n, fmt.Errorf("%w: the server sent more than %d bytes; a source should be small: name a branch or a tag, and keep large files out of the repository", archive.ErrTooLarge, c.dialer.limit)
	}
	return n, err
}
