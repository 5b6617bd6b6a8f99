package gateway

import (
	"net"
	"sync"
)

// limitListener accepts a connection only when there is a place for it. Several
// listeners may share the places. The connections keep the methods of TCP, so
// that tunnels can close one direction and copies can stay in the kernel.
type limitListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	close  func() error
}

func newLimitListener(l net.Listener, places chan struct{}) *limitListener {
	closed := make(chan struct{})
	return &limitListener{Listener: l, places: places, closed: closed, close: sync.OnceValue(func() error {
		close(closed)
		return l.Close()
	})}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	release := sync.OnceFunc(func() { <-l.places })
	conn, err := l.Listener.Accept()
	if err != nil {
		release()
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &limitedTCP{tcp, release}, nil
	}
	return &limitedConn{conn, release}, nil
}

// Close implements net.Listener.
func (l *limitListener) Close() error { return l.close() }

type limitedTCP struct {
	*net.TCPConn
	release func()
}

// Close implements net.Conn.
func (c *limitedTCP) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
