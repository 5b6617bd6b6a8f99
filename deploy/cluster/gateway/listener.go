package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
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
		return &limitedTCP{TCPConn: tcp, release: release}, nil
	}
	return &limitedConn{conn, release}, nil
}

// Close implements net.Listener.
func (l *limitListener) Close() error { return l.close() }

type limitedTCP struct {
	*net.TCPConn
	release func()
	last    atomic.Bool // nothing more is read
}

// endReading makes this request the connection's last: a Read that waits and all
// later ones report the end. What a client goes on to send of a request that was
// answered early must not be taken for its next one.
func (c *limitedTCP) endReading() {
	c.last.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0))
}

// Read implements net.Conn.
func (c *limitedTCP) Read(p []byte) (int, error) {
	if c.last.Load() {
		return 0, io.EOF
	}
	n, err := c.TCPConn.Read(p)
	if c.last.Load() {
		return 0, io.EOF
	}
	return n, err
}

// Close implements net.Conn. A client that still sends gets lingerTime to read
// its answer: closing at once would reset the connection, answer included.
func (c *limitedTCP) Close() error {
	if !c.last.Load() {
		defer c.release()
		return c.TCPConn.Close()
	}
	err := c.CloseWrite()
	go func() {
		defer c.release()
		end := time.Now().Add(lingerTime)
		_ = c.SetReadDeadline(end)
		if _, err := io.CopyN(io.Discard, c.TCPConn, lingerBytes); err == nil {
			time.Sleep(time.Until(end)) // the window is full: the client waits
		}
		_ = c.TCPConn.Close()
	}()
	return err
}

// connectionKey is the key of a request's *limitedTCP in its context.
type connectionKey struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if limited, ok := conn.(*limitedTCP); ok {
		return context.WithValue(ctx, connectionKey{}, limited)
	}
	return ctx
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
